"""OCI layout directories as a transport: what a registry has of an image, for places without a network.

Source: the OCI image specification 1.1, image-layout.md. For skopeo it is oci:DIR:TAG, for oras --oci-layout DIR:TAG.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from builder.errors import AuditError, InputError, TransferError
from builder.model.artifacts.manifest import BUNDLE, INDEX, MANIFEST, ROOTFS, Manifest
from builder.model.version import VERSION, Version
from builder.output.given import LARGEST, SIGNATURE, may_not_read
from builder.output.offer import Asked, Offer, SignedStatement
from builder.output.versions import parse_manifest
from builder.system.files import sha256_of_first
from builder.system.guarded.held import HeldDirectory
from builder.system.guarded.links import resolve_given
from builder.system.guarded.private import entered, made_directory
from builder.transports.base import Catalog, Options, Pushed, Scheme, TagMove, Transport
from builder.transports.kept import disk_full
from builder.transports.local import directory_mode, tags_locked
from builder.transports.oci.document import (
    ARTIFACT_TYPE,
    EMPTY,
    MANIFEST_TYPE,
    OciManifest,
    read_document,
    write_document,
)
from builder.transports.oci.layout_source import (
    COPY_AGAIN,
    INDEX_FILE,
    LAYOUT_FILE,
    REF_NAME,
    LayoutBlobs,
    LayoutSource,
    tag_of,
)
from builder.transports.pieces import Cut, layers

_PREFIX, _DEFAULT_TAG = "oci-layout:", "latest"
_REFERENCE = re.compile(
    r"(?P<path>.+?)(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?", re.DOTALL
)
_BLOCK = 1 << 20
_TEXT = b'{"imageLayoutVersion": "1.0.0"}\n'
_INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
_DRAFT = ".tmp-upload-"


class LayoutTransport(Transport):
    """One layout; it is meant for the versions of one image, as a repository is."""

    def __init__(self, path: Path, options: Options) -> None:
        self._path = path.absolute()
        self._options = options
        self._where = f"{_PREFIX}{self._path}"

    def push(self, version: HeldDirectory, manifest: Manifest, moves: Sequence[TagMove]) -> Pushed:
        """Blobs under temporary names, on the disk before they have their own; then the index, at once."""
        mode = self._options.mode
        with disk_full(self._path), self._made() as held, tags_locked(held):
            blobs = LayoutBlobs(held)
            for move in moves:
                move.check_before(self._statement(blobs, move.tag))
            cut = layers(version, manifest, self._options.layers or self._bound(blobs, manifest, moves))
            documents: dict[str, bytes] = {manifest.version: write_document(manifest, cut)}
            documents |= {move.tag: write_document(manifest, cut, move.statement) for move in moves}
            sent, there = self._write_blobs(held, cut, list(documents.values()))
            before = {blobs.digest_of(name) for name in documents}
            self._point(blobs, documents)
            held.write(INDEX_FILE, io.BytesIO(_text(blobs.index)), mode)
            self._forget(blobs, {digest.removeprefix("sha256:") for digest in before if digest})
        size = sum(piece.size for piece in cut.pieces)
        return Pushed(f"{self._where}:{manifest.version}", sent, size, len(cut.pieces) - there, there)

    def _made(self) -> HeldDirectory:
        """The layout, made where it is missing; InputError for a directory of something else."""
        mode = self._options.mode
        held = made_directory(self._path, directory_mode(mode))
        if not held.kind(LAYOUT_FILE):
            if held.names():
                message = f"{held.path} is no OCI layout, and not empty"
                raise InputError(message, f"give a new directory: {_PREFIX}{held.path}/NAME")
            held.write(
                INDEX_FILE, io.BytesIO(_text({"schemaVersion": 2, "mediaType": _INDEX_TYPE, "manifests": []})), mode
            )
            with entered(held, "blobs", directory_mode(mode)) as outer, entered(outer, "sha256", directory_mode(mode)):
                held.write(LAYOUT_FILE, io.BytesIO(_TEXT), mode)
        return held

    def _bound(self, blobs: LayoutBlobs, manifest: Manifest, moves: Sequence[TagMove]) -> int | None:
        """As what is there was cut; InputError where that is another image."""
        for name in (manifest.version, *(move.tag for move in moves), *reversed(blobs.tags())):
            document = self._document(blobs, name)
            if document is not None and document.image != manifest.image:
                message = f"{self._where}:{name} is the image {document.image}, not {manifest.image}"
                raise InputError(message, "give each image a layout of its own")
            if document is not None:
                return document.most
        return None

    def _write_blobs(self, held: HeldDirectory, cut: Cut, documents: Sequence[bytes]) -> tuple[int, int]:
        """Bytes that were written, and how many pieces were there, each read to see that it is whole."""
        draft, written, there = held.make_temporary(_DRAFT), {}, 0
        try:
            with held.enter("blobs", "sha256") as blobs:
                for piece in cut.pieces:
                    if piece.sha256 in written or _has(blobs, piece.sha256, piece.size):
                        there += 1
                        continue
                    with piece.part.open() as file:
                        _write(draft, piece.sha256, file, piece.size, self._options.mode)
                    written[piece.sha256] = piece.size
                for data in (EMPTY, *documents):
                    sha256 = hashlib.sha256(data).hexdigest()
                    if sha256 not in written and not _has(blobs, sha256, len(data)):
                        _write(draft, sha256, io.BytesIO(data), len(data), self._options.mode)
                        written[sha256] = len(data)
                draft.sync_filesystem()
                for sha256, size in written.items():
                    if not _has(draft, sha256, size):
                        message = f"{draft.path / sha256} is not what was written"
                        raise TransferError(message, "see dmesg: the disk may be failing")
                    draft.rename(sha256, blobs, sha256)
                blobs.sync()
        finally:
            held.remove(draft.path.name)
        return sum(written.values()), there

    def _point(self, blobs: LayoutBlobs, documents: Mapping[str, bytes]) -> None:
        """Makes each name mean its document, in the index that is in memory."""
        rows = [row for row in blobs.index["manifests"] if not (isinstance(row, dict) and tag_of(row) in documents)]
        for name, data in documents.items():
            rows.append(
                {
                    "mediaType": MANIFEST_TYPE,
                    "artifactType": ARTIFACT_TYPE,
                    "digest": f"sha256:{hashlib.sha256(data).hexdigest()}",
                    "size": len(data),
                    "annotations": {REF_NAME: name},
                }
            )
        blobs.index["manifests"] = rows

    def _forget(self, blobs: LayoutBlobs, candidates: set[str]) -> None:
        """Removes those of some blobs that nothing in the index needs any more."""
        unused = candidates - blobs.reachable()
        with blobs.held.enter("blobs", "sha256") as directory:
            for sha256 in unused:
                directory.unlink(sha256)

    def statement(self, image: str, tag: str) -> SignedStatement | None:
        """What the annotations of the tag's manifest say."""
        if not os.path.lexists(self._path / LAYOUT_FILE):
            return None
        return self._statement(self._open(self._where), tag)

    def _statement(self, blobs: LayoutBlobs, tag: str) -> SignedStatement | None:
        document = self._document(blobs, tag)
        return None if document is None else document.statement

    def _document(self, blobs: LayoutBlobs, name: str) -> OciManifest | None:
        """None where there is no such tag, or it means something else than a version."""
        digest = blobs.digest_of(name)
        with contextlib.suppress(InputError):
            return None if digest is None else read_document(blobs.read(digest), f"{self._where}:{name}")
        return None

    def _open(self, shown: str) -> LayoutBlobs:
        try:
            return LayoutBlobs(HeldDirectory.at(resolve_given(self._path)))
        except PermissionError as error:
            raise may_not_read(self._path) from error
        except OSError as error:
            raise InputError(f"{shown} is in no OCI layout: {error.strerror}", f"{_PREFIX}DIR[:TAG]") from error

    def find(self, image: str, name: str) -> Offer:
        """By tag, version or sha256:DIGEST; the layout has one image."""
        shown = f"{self._where}{'@' if ':' in name else ':'}{name}"
        blobs = self._open(shown)
        digest = name if name.startswith("sha256:") else blobs.digest_of(name)
        if digest is None:
            tags = ", ".join(blobs.tags()[-20:]) or "none"
            raise TransferError(f"{self._where} has no {name}", f"tags there: {tags}")
        document = read_document(blobs.read(digest), shown)
        data = blobs.read(document.files[MANIFEST].digest, LARGEST[MANIFEST])
        manifest = parse_manifest(data, shown)
        if document.image != manifest.image:
            raise AuditError(f"{shown} is called {document.image}, and is {manifest.image}", "upload the version again")
        parts = {INDEX: [document.files[INDEX]], BUNDLE: document.bundle, ROOTFS: document.archive}
        source = LayoutSource(shown, blobs, parts)
        source.verify_sizes(manifest.artifacts)
        signed = document.files.get(SIGNATURE)
        signature = None if signed is None else blobs.read(signed.digest, LARGEST[SIGNATURE])
        asked = Asked.by_name(shown, name, image=image or None, place=self._where)
        return Offer(source, data, manifest, signature, asked, document.statement)

    def names(self, image: str) -> tuple[str, ...] | None:
        """All tags; versions are tags too."""
        return self._open(self._where).tags()

    def catalog(self, image: str) -> Catalog:
        """In the order of the index."""
        blobs = self._open(self._where)
        versions, channels = [], {}
        for tag in dict.fromkeys(filter(None, map(tag_of, blobs.rows()))):
            document = self._document(blobs, tag)
            if VERSION.accepts(tag):
                versions += [Version(tag)] if document is not None else []
            else:
                if document is not None and document.version is None:
                    raise AuditError(f"{self._where}:{tag} does not say which version it is", COPY_AGAIN)
                channels[tag] = None if document is None else document.version
        return Catalog(tuple(versions), channels)

    def remove(self, image: str, version: Version) -> None:
        """From the index, then the blobs that nothing else there needs."""
        with HeldDirectory.at(resolve_given(self._path)) as held, tags_locked(held):
            blobs = LayoutBlobs(held)
            rows = [row for row in blobs.rows() if tag_of(row) == version]
            before = blobs.reachable()
            blobs.index["manifests"] = [row for row in blobs.index["manifests"] if row not in rows]
            held.write(INDEX_FILE, io.BytesIO(_text(blobs.index)), self._options.mode)
            self._forget(blobs, before)


def _text(index: Mapping[str, Any]) -> bytes:
    return json.dumps(index, indent=1).encode() + b"\n"


def _has(directory: HeldDirectory, sha256: str, size: int) -> bool:
    """Whether a blob is there, whole."""
    try:
        with directory.open(sha256) as file:
            return os.fstat(file.fileno()).st_size == size and sha256_of_first(file, size) == sha256
    except OSError:
        return False


def _write(directory: HeldDirectory, name: str, content: BinaryIO, size: int, mode: int) -> None:
    """A new file; what it has is on the disk after the next sync of all."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(name, flags, 0o600, dir_fd=directory.handle), "wb") as file:
        while size > 0 and (data := content.read(min(_BLOCK, size))):
            file.write(data)
            size -= len(data)
        os.fchmod(file.fileno(), mode)


def parse_layout(text: str) -> tuple[Path, str | None, str | None]:
    """The directory, tag and digest of oci-layout:DIR[:TAG | @DIGEST]; InputError for what is not such a reference."""
    found = _REFERENCE.fullmatch(text.removeprefix(_PREFIX).removeprefix("//"))
    if found is None or "\0" in text:
        raise InputError(f"{text} names no directory", f"{_PREFIX}DIR[:TAG | @DIGEST]")
    return Path(found["path"]), found["tag"], found["digest"]


def _find_offer(text: str, options: Options) -> Offer:
    path, tag, digest = parse_layout(text)
    return LayoutTransport(path, options).find("", digest or tag or _DEFAULT_TAG)


def _open_transport(text: str, options: Options) -> tuple[Transport, tuple[str, ...]]:
    path, tag, digest = parse_layout(text)
    if digest:
        raise InputError(f"{text} names a digest, which is not chosen but found", "leave it out")
    return LayoutTransport(path, options), (tag,) if tag else ()


LAYOUT = Scheme((_PREFIX,), f"{_PREFIX}DIR", _find_offer, _open_transport, has_layers=True)
