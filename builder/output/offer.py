"""A version as a command finds it: its manifest and signature are read here, once, and handed down."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from builder.errors import AuditError
from builder.model.artifacts.index import Index
from builder.model.artifacts.manifest import BUNDLE, INDEX, MANIFEST, ROOTFS, Manifest
from builder.model.version import VERSION, Version
from builder.output.given import LARGEST, SIGNATURE, hold_version, read_given
from builder.output.source import DirectorySource, Source
from builder.output.versions import manifest_bytes, parse_manifest

_AGAIN = "copy or build the version again"
_OTHER = "somebody put another version there: get this one from where it was built, and ask who can write there"


@dataclass(frozen=True)
class SignedStatement:
    """A channel statement as it was found: the text that was signed, and the signature; nobody checked it yet."""

    text: str
    signature: bytes

    @property
    def data(self) -> bytes:
        """The bytes that were signed; of a text that nobody can have signed, bytes that nobody signed."""
        return self.text.encode("utf-8", "surrogatepass")


@dataclass(frozen=True)
class Asked:
    """What a reference names, whatever is found there.

    reference: as it was given; empty for a version that lies on this machine
    image, version: None where it does not name them
    tag: the channel; None where a version or a digest is named
    place: what keeps the versions of one image, and does not say which; empty where the reference does
    """

    reference: str = ""
    image: str | None = None
    version: Version | None = None
    tag: str | None = None
    place: str = ""

    @classmethod
    def by_name(cls, reference: str, name: str, *, image: str | None = None, place: str = "") -> Asked:
        """`name` is that of a version, a digest (sha256:...), or a tag."""
        if VERSION.accepts(name):
            return cls(reference, image, Version(name), place=place)
        return cls(reference, image, tag=None if ":" in name else name, place=place)


@dataclass(frozen=True)
class Offer:
    """One version, wherever it lies: what its manifest says does not change any more, whatever happens there.

    source: where its artifacts come from
    data: the bytes of manifest.json, which `manifest` is parsed from
    signature: the bytes of manifest.json.sig, None where nobody signed
    asked: what was asked for: AuditError where the manifest is of something else
    statement: what the channel said that was asked for
    """

    source: Source
    data: bytes
    manifest: Manifest
    signature: bytes | None
    asked: Asked = Asked()
    statement: SignedStatement | None = None

    def __post_init__(self) -> None:
        """Checks that it is what was asked for."""
        for what, wanted, there in (
            ("image", self.asked.image, self.manifest.image),
            ("version", self.asked.version, self.manifest.version),
        ):
            if wanted is not None and wanted != there:
                raise AuditError(f"{self.asked.reference} names the {what} {wanted}, and gives {there}", _OTHER)

        if self.signature is not None and len(self.signature) > LARGEST[SIGNATURE]:
            raise AuditError(f"{self.source.name}: a signature of {len(self.signature)} bytes", _AGAIN)
        for name in (INDEX, BUNDLE):
            size = self.manifest.artifacts[name].size
            if not 0 < size <= LARGEST[name]:
                message = f"{self.source.name}: {name} of {size} bytes, and {LARGEST[name]} at most in any version"
                raise AuditError(message, _AGAIN)

    def write_documents(self, directory: Path) -> None:
        """Writes manifest and signature, byte for byte, into a directory that has neither."""
        (directory / MANIFEST).write_bytes(self.data)
        if self.signature is not None:
            (directory / SIGNATURE).write_bytes(self.signature)


def offer_directory(version: Path, asked: Asked | None = None, statement: SignedStatement | None = None) -> Offer:
    """The version in OUTPUT/IMAGE/VERSION.

    InputError where there is none, AuditError where its manifest or signature cannot be read, or it is another version
    than its directory is called.
    """
    held = hold_version(version)
    data = manifest_bytes(held)
    manifest = parse_manifest(data, str(held.path / MANIFEST))
    signature = read_given(held, SIGNATURE) if held.kind(SIGNATURE) else None
    name = held.path.name
    asked = asked or Asked(str(version), version=Version(name) if VERSION.accepts(name) else None)
    return Offer(DirectorySource(held), data, manifest, signature, asked, statement)


def check_frames(offer: Offer, index: Index) -> None:
    """AuditError unless the frames are as long as the manifest says that the archive is: before one is fetched."""
    said, there = offer.manifest.artifacts[ROOTFS].size, sum(frame.size for frame in index.frames)
    if said != there:
        raise AuditError(f"{offer.source.name}: the index has frames of {there} bytes, {ROOTFS} has {said}", _AGAIN)
