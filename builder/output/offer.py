"""A version as a command finds it: its manifest and signature are read here, once, and handed down."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from builder.model.artifacts.manifest import MANIFEST, Manifest
from builder.output.given import SIGNATURE, hold_version, read_given
from builder.output.signature import verify_signature
from builder.output.source import DirectorySource, Source
from builder.output.versions import manifest_bytes, parse_manifest


@dataclass(frozen=True)
class Offer:
    """One version, wherever it lies: what its manifest says does not change any more, whatever happens there.

    source: where its artifacts come from
    data: the bytes of manifest.json, which `manifest` is parsed from
    signature: the bytes of manifest.json.sig, None where nobody signed
    """

    source: Source
    data: bytes
    manifest: Manifest
    signature: bytes | None

    def verify_signer(self, allowed: Path) -> str:
        """The principal of `allowed` who signed it; errors as of `verify_signature`."""
        return verify_signature(self.data, self.signature, allowed)

    def write_documents(self, directory: Path) -> None:
        """Writes manifest and signature, byte for byte, into a directory that has neither."""
        (directory / MANIFEST).write_bytes(self.data)
        if self.signature is not None:
            (directory / SIGNATURE).write_bytes(self.signature)


def offer_directory(version: Path) -> Offer:
    """The version in OUTPUT/IMAGE/VERSION.

    InputError where there is none, AuditError where its manifest or signature cannot be read.
    """
    held = hold_version(version)
    data = manifest_bytes(held)
    manifest = parse_manifest(data, str(held.path / MANIFEST))
    signature = read_given(held, SIGNATURE) if held.kind(SIGNATURE) else None
    return Offer(DirectorySource(held), data, manifest, signature)
