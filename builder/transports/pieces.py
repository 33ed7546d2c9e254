"""What an upload is made of: the pieces of a version directory with their digests, read once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from builder.errors import AuditError
from builder.model.index import Frame
from builder.model.manifest import BUNDLE, CHECKSUMS, INDEX, MANIFEST, ROOTFS, Manifest
from builder.system.source import SIGNATURE
from builder.system.unpack import read_index
from builder.transports.client import FilePart
from builder.transports.layers import cut_layers

_PIECE = 1 << 20
SMALL = (CHECKSUMS, SIGNATURE, MANIFEST)
_DAMAGED = "it was changed or not copied whole: copy it again, or build it again"


@dataclass(frozen=True)
class Piece:
    """Bytes of an artifact under the name they are sent by."""

    name: str
    part: FilePart
    sha256: str

    @property
    def size(self) -> int:
        """In bytes."""
        return self.part.size


def whole_files(version: Path, manifest: Manifest) -> list[Piece]:
    """Every file of a version, the manifest last; AuditError where one is not what the manifest says."""
    large = [_whole(version / name) for name in (INDEX, BUNDLE, ROOTFS)]
    for piece in large:
        _check(piece.part.path, piece.sha256, manifest)
    return [*large, *_small(version)]


def layers(version: Path, manifest: Manifest) -> list[Piece]:
    """Every file of a version with the archive in layers, in the order in which they make it up again.

    AuditError where a file is not what the manifest says.
    """
    files = [_whole(version / name) for name in (INDEX, BUNDLE)]
    for piece in files:
        _check(piece.part.path, piece.sha256, manifest)
    runs = cut_layers(read_index(version / INDEX))
    found, whole = _read_layers(version / ROOTFS, runs)
    _check(version / ROOTFS, whole, manifest)
    return [*reversed(_small(version)), *files, *found]


def layer_name(number: int) -> str:
    """rootfs.tar.zst.00001 and so on: names that sort as the layers follow each other."""
    return f"{ROOTFS}.{number:05}"


def _small(version: Path) -> list[Piece]:
    return [_whole(version / name) for name in SMALL if (version / name).exists()]


def _read_layers(archive: Path, runs: Sequence[Sequence[Frame]]) -> tuple[list[Piece], str]:
    """The layers, and the digest of the whole archive."""
    whole, found = hashlib.sha256(), []
    with archive.open("rb") as file:
        for number, run in enumerate(runs, start=1):
            size = sum(frame.size for frame in run)
            data = file.read(size)
            whole.update(data)
            part = FilePart(archive, run[0].offset, size)
            found.append(Piece(layer_name(number), part, hashlib.sha256(data).hexdigest()))
        _drain(file, whole)
    return found, whole.hexdigest()


def _drain(file: BinaryIO, digest: hashlib._Hash) -> None:
    while data := file.read(_PIECE):
        digest.update(data)


def _whole(path: Path) -> Piece:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return Piece(path.name, FilePart(path, 0, file.tell()), digest)
    except OSError as error:
        raise AuditError(f"{path}: {error.strerror}", "copy the version again, whole, or build it again") from error


def _check(path: Path, sha256: str, manifest: Manifest) -> None:
    said = manifest.artifacts[path.name].sha256
    if sha256 != said:
        raise AuditError(f"{path} is not what {MANIFEST} says: SHA-256 {sha256}, not {said}", _DAMAGED)
