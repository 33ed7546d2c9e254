"""Registries as a transport: a version is an artifact whose layers make up the archive again."""

from __future__ import annotations

import concurrent.futures
import hashlib
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from builder.errors import AuditError, DisklessError, InputError, TransferError
from builder.model.artifacts.manifest import BUNDLE, INDEX, MANIFEST, ROOTFS, Manifest
from builder.model.version import VERSION, Version
from builder.output.given import LARGEST, SIGNATURE
from builder.output.offer import Asked, Offer, SignedStatement
from builder.output.versions import parse_manifest
from builder.system.guarded.held import HeldDirectory
from builder.transports.base import Catalog, Options, Pushed, Scheme, TagMove, Transport
from builder.transports.http.addresses import is_loopback
from builder.transports.http.refusals import RefusedError
from builder.transports.kept import open_kept
from builder.transports.oci.document import EMPTY, EMPTY_SHA256, Layer, OciManifest, read_document, write_document
from builder.transports.oci.limits import BOUNDS, may_be_too_large
from builder.transports.oci.registry import MissingBlobError, Registry
from builder.transports.oci.upload import BlobSender
from builder.transports.pieces import Cut, Piece, layers
from builder.transports.ranges import Extent
from builder.transports.remote import Blob, RemoteSource, RemoteVersion
from builder.transports.retries import DamagedTransferError, persist

DEFAULT_TAG = "latest"
_REFERENCE = re.compile(
    r"oci://(?P<host>[A-Za-z0-9.-]+(?::[0-9]+)?|\[[0-9a-fA-F:]+\](?::[0-9]+)?)"
    r"/(?P<repository>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_KEPT_DOCUMENTS = 32
_OWN_RULES = "look at the registry's own rules for what is kept"


@dataclass(frozen=True)
class OciReference:
    """oci://HOST[:PORT]/REPOSITORY[:TAG | @DIGEST]"""

    host: str
    repository: str
    tag: str | None
    digest: str | None


def parse_oci(text: str) -> OciReference:
    """InputError for what is not such a reference; a login in it is not repeated."""
    if "@" in text.removeprefix("oci://").split("/")[0]:
        raise InputError("the reference has a login in it, which others can see", "leave it out; docker login HOST")
    found = _REFERENCE.fullmatch(text)
    if not found:
        raise InputError(
            f"{text} is not a reference to a registry", "oci://HOST[:PORT]/REPOSITORY[:TAG], in small letters"
        )
    return OciReference(found["host"], found["repository"], found["tag"], found["digest"])


class OciTransport(Transport):
    """One repository of a registry; it is meant for the versions of one image."""

    def __init__(self, reference: OciReference, options: Options) -> None:
        self._options = options
        self._where = f"oci://{reference.host}/{reference.repository}"
        host = reference.host.rpartition(":")[0] if re.search(r":\d+$", reference.host) else reference.host
        plain = options.plain_http or is_loopback(host.strip("[]"))
        # plain http is for this host or when asked; a CA says that there is TLS
        self._scheme = "http" if plain and options.ca is None else "https"
        self._reference = reference

    def _registry(self, *, write: bool = False) -> Registry:
        return Registry(
            self._reference.host, self._reference.repository, self._options, scheme=self._scheme, write=write
        )

    def push(self, version: HeldDirectory, manifest: Manifest, moves: Sequence[TagMove]) -> Pushed:
        """Layers that the last version of the tags lacks, then the manifest under its version, then the tags.

        A tag with a statement has an OCI manifest of its own, the version's with the statement in it: one request says
        what it means, and who signed that. Registries know no condition for a change, so what was signed is read again
        just before and just after: who comes in between is noticed by one of the two, and by every store.
        """
        registry = self._registry(write=True)
        known = self._known(registry, manifest, [move.tag for move in moves])
        cut = layers(version, manifest, self._options.layers or (known.most if known else None))
        while True:
            try:
                there = self._send_version(registry, manifest, cut)
                break
            except RefusedError as error:
                most = next((bound for bound in BOUNDS if bound < len(cut.pieces)), None)
                if most is None or self._options.layers or not may_be_too_large(error):
                    raise
                said = error.said or f"status {error.status}"
                self._options.progress.note(f"the registry takes no manifest of {len(cut.pieces)} layers ({said})")
                cut = layers(version, manifest, most)
        for move in moves:
            move.check_before(self._statement(registry, move.tag))
            registry.put_manifest(move.tag, write_document(manifest, cut, move.statement))
            move.check_after(self._statement(registry, move.tag) if move.statement else None)
        reference, unique = f"{self._where}:{manifest.version}", {piece.sha256 for piece in cut.pieces}
        size = sum(piece.size for piece in cut.pieces)
        return Pushed(reference, registry.client.sent.moved, size, len(unique) - there, there)

    def _send_version(self, registry: Registry, manifest: Manifest, cut: Cut) -> int:
        """Layers, then the manifest; how many layers were there. RefusedError where that manifest is not taken."""
        document = write_document(manifest, cut)
        unique = list({piece.sha256: piece for piece in cut.pieces}.values())
        there = self._send(registry, unique)
        try:
            registry.put_manifest(manifest.version, document)
        except MissingBlobError:  # collected as garbage meanwhile
            there = self._send(registry, unique)
            registry.put_manifest(manifest.version, document)
        return there

    def statement(self, image: str, tag: str) -> SignedStatement | None:
        """What the annotations of the tag's manifest say."""
        return self._statement(self._registry(), tag)

    def _statement(self, registry: Registry, tag: str) -> SignedStatement | None:
        data = registry.manifest(tag)
        if data is None:
            return None
        try:
            return read_document(data, f"{self._where}:{tag}").statement
        except InputError:
            return None  # a tag of something else

    def find(self, image: str, name: str) -> Offer:
        """By tag, version or sha256:DIGEST; the repository has one image."""
        registry = self._registry()
        kept = open_kept(self._options, "documents")
        digest = name if name.startswith("sha256:") else registry.resolve(name)
        data = kept.read(digest.removeprefix("sha256:")) if digest else None
        if data is None:
            data = registry.manifest(digest or name)
            if data is None:
                raise self._not_there(registry, name)
            if digest:
                kept.write(digest.removeprefix("sha256:"), data)
                kept.prune(_KEPT_DOCUMENTS)
        shown = f"{self._where}{'@' if ':' in name else ':'}{name}"
        asked = Asked.by_name(shown, name, image=image or None, place=self._where)
        return self._offer(registry, read_document(data, shown), asked)

    def _offer(self, registry: Registry, document: OciManifest, asked: Asked) -> Offer:
        shown = asked.reference
        data = self._small(registry, document.files[MANIFEST])
        signature = self._small(registry, document.files[SIGNATURE]) if SIGNATURE in document.files else None
        manifest = parse_manifest(data, shown)
        if document.image != manifest.image:
            raise AuditError(f"{shown} is called {document.image}, and is {manifest.image}", "upload the version again")
        _check_sizes(document, manifest, shown)
        files = {
            INDEX: [_blob(registry, document.files[INDEX])],
            BUNDLE: [_blob(registry, layer) for layer in document.bundle],
        }
        sha256, extents = hashlib.sha256(data).hexdigest(), _extents(registry, document)
        place = RemoteVersion(shown, sha256, manifest.artifacts, files, extents)
        source = RemoteSource(registry.client, place, self._options)
        return Offer(source, data, manifest, signature, asked, document.statement)

    def names(self, image: str) -> tuple[str, ...] | None:
        """All tags; versions are tags too."""
        return self._registry().tags()

    def catalog(self, image: str) -> Catalog:
        """Versions of one day in the order of their newest packages."""
        registry = self._registry()
        found: list[tuple[int, Version]] = []
        channels: dict[str, Version | None] = {}
        for tag in registry.tags():
            data = registry.manifest(tag)
            if data is None:
                continue
            document = self._read(data, tag)
            if not VERSION.accepts(tag):
                channels[tag] = self._meant(document, tag)
            elif document is not None and (document.image, document.version) == (image, tag):
                manifest = parse_manifest(self._small(registry, document.files[MANIFEST]), f"{self._where}:{tag}")
                found.append((manifest.epoch, manifest.version))
        return Catalog(tuple(version for _, version in sorted(found)), channels)

    def _read(self, data: bytes, name: str) -> OciManifest | None:
        """None for what is no version of ours."""
        try:
            return read_document(data, f"{self._where}:{name}")
        except InputError:
            return None

    def _meant(self, document: OciManifest | None, tag: str) -> Version | None:
        if document is not None and document.version is None:
            raise AuditError(f"{self._where}:{tag} does not say which version it is", "upload that version again")
        return None if document is None else document.version

    def remove(self, image: str, version: Version) -> None:
        """By the digest of its manifest; the bytes go with the registry's next garbage collection."""
        registry = self._registry(write=True)
        data = registry.manifest(version)
        if data is None:
            return
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        # who removes a manifest removes all tags that mean it
        for tag in registry.tags():
            if not VERSION.accepts(tag) and registry.resolve(tag) == digest:
                raise TransferError(f"{self._where}:{tag} means {version} since", "nothing was removed of it")
        registry.delete_manifest(digest)
        if registry.manifest(version) is not None:  # some keep the tag
            registry.delete_manifest(version)
        if registry.manifest(version) is not None:
            raise TransferError(f"{self._where} took the order to remove {version}, and has it still", _OWN_RULES)

    def _known(self, registry: Registry, manifest: Manifest, tags: Sequence[str]) -> OciManifest | None:
        """What was sent before: this version, that of the tags, else the newest there is."""
        for name in (manifest.version, *tags):
            data = registry.manifest(name)
            if data is not None:
                return self._own(data, name, manifest.image)
        versions = [tag for tag in registry.tags() if VERSION.accepts(tag)]
        data = registry.manifest(versions[-1]) if versions else None
        return None if data is None else self._own(data, versions[-1], manifest.image)

    def _own(self, data: bytes, name: str, image: str) -> OciManifest | None:
        """InputError where that is another image: a channel never changes what it is of."""
        try:
            document = read_document(data, f"{self._where}:{name}")
        except AuditError:
            return None
        if document.image != image:
            message = f"{self._where}:{name} is the image {document.image}, not {image}"
            raise InputError(message, "give each image a repository of its own")
        return document

    def _send(self, registry: Registry, pieces: Sequence[Piece]) -> int:
        """Sends, several at once, what the registry lacks, the config among it; how many were there."""
        sender, stop = BlobSender(registry, self._options), threading.Event()

        sent = registry.client.sent
        sent.expect(sum(piece.size for piece in pieces))

        def send(piece: Piece) -> bool:
            if stop.is_set():
                return False
            try:
                if registry.has_blob(piece.sha256, piece.size):
                    sent.expect(-piece.size)
                    return True
                sender.send(piece)
            except DisklessError:
                stop.set()
                raise
            return False

        if not registry.has_blob(EMPTY_SHA256, len(EMPTY)):
            sender.send_bytes(EMPTY)
        with concurrent.futures.ThreadPoolExecutor(self._options.streams, "send") as pool:
            return sum(pool.map(send, pieces))

    def _small(self, registry: Registry, layer: Layer) -> bytes:
        """A manifest or signature, checked, from the last time if it was the same; AuditError for one that is none."""
        if layer.size > LARGEST[layer.title]:
            message = f"{layer.title} has {layer.size} bytes, and {LARGEST[layer.title]} at most in any version"
            raise AuditError(message, "upload the version again")
        kept = open_kept(self._options, "documents")
        sha256 = layer.digest.removeprefix("sha256:")

        def fetch() -> bytes:
            _, _, body = registry.client.call("GET", registry.blob_address(layer.digest), most=layer.size)
            kept.write(sha256, body)
            data = kept.read(sha256)
            if data is None:
                raise DamagedTransferError(f"{layer.title} is not what its digest says", "upload the version again")
            return data

        return kept.read(sha256) or persist(fetch, self._options.retries)

    def _not_there(self, registry: Registry, name: str) -> TransferError:
        tags = registry.tags()
        listed = ", ".join(tags[-20:]) or "none"
        return TransferError(f"{self._where} has no {name}", f"tags there: {listed}")


def _check_sizes(document: OciManifest, manifest: Manifest, shown: str) -> None:
    """AuditError unless the parts of each file are as long as the manifest says: before a byte of them is fetched."""
    parts = {INDEX: [document.files[INDEX]], BUNDLE: document.bundle, ROOTFS: document.archive}
    for name, layers_of in parts.items():
        said, there = manifest.artifacts[name].size, sum(layer.size for layer in layers_of)
        if said != there:
            message = f"{shown} has {there} bytes of {name}, its manifest says {said}"
            raise AuditError(message, "upload the version again")


def _blob(registry: Registry, layer: Layer) -> Blob:
    return Blob(registry.blob_address(layer.digest), layer.size, layer.digest.removeprefix("sha256:"))


def _extents(registry: Registry, document: OciManifest) -> list[Extent]:
    extents, offset = [], 0
    for layer in document.archive:
        extents.append(Extent(offset, layer.size, registry.blob_address(layer.digest)))
        offset += layer.size
    return extents


def _find_offer(text: str, options: Options) -> Offer:
    reference = parse_oci(text)
    return OciTransport(reference, options).find("", reference.digest or reference.tag or DEFAULT_TAG)


def _open_transport(text: str, options: Options) -> tuple[Transport, tuple[str, ...]]:
    reference = parse_oci(text)
    if reference.digest:
        raise InputError(f"{text} names a digest, which is not chosen but found", "leave it out")
    return OciTransport(reference, options), (reference.tag,) if reference.tag else ()


OCI = Scheme(("oci://",), "oci://HOST/REPOSITORY", _find_offer, _open_transport, has_layers=True)
