"""What an upload is made of: the pieces of a version directory with their digests, read once."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from builder.archive.unpack import read_index
from builder.errors import AuditError
from builder.model.artifacts.manifest import BUNDLE, CHECKSUMS, INDEX, MANIFEST, ROOTFS, Manifest
from builder.output.source import SIGNATURE
from builder.transports.http.client import FilePart
from builder.transports.layers import cut_layers

# a registry that lost a connection in the middle of a blob may want it from its beginning
LARGEST_PART = 2 << 20
_BLOCK = 1 << 20
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
    """Every file of a version, bundle and archive in parts, in the order in which they make those up again.

    AuditError where a file is not what the manifest says.
    """
    index = _whole(version / INDEX)
    _check(index.part.path, index.sha256, manifest)
    bundle = _cut(version / BUNDLE, itertools.repeat(LARGEST_PART), manifest)
    runs = cut_layers(read_index(version / INDEX))
    archive = _cut(version / ROOTFS, (sum(frame.size for frame in run) for run in runs), manifest)
    return [*reversed(_small(version)), index, *bundle, *archive]


def _small(version: Path) -> list[Piece]:
    return [_whole(version / name) for name in SMALL if (version / name).exists()]


def _cut(path: Path, sizes: Iterable[int], manifest: Manifest) -> list[Piece]:
    """A file in parts of these sizes, under names that sort as they follow each other: NAME.00001 and so on."""
    whole, found, offset = hashlib.sha256(), [], 0
    with _readable(path) as file:
        for number, size in enumerate(sizes, start=1):
            data = file.read(size)
            if not data:
                break
            whole.update(data)
            part = FilePart(path, offset, len(data))
            found.append(Piece(f"{path.name}.{number:05}", part, hashlib.sha256(data).hexdigest()))
            offset += len(data)
        while data := file.read(_BLOCK):
            whole.update(data)
    _check(path, whole.hexdigest(), manifest)
    return found


def _whole(path: Path) -> Piece:
    with _readable(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Piece(path.name, FilePart(path, 0, file.tell()), digest)


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[BufferedReader]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise AuditError(f"{path}: {error.strerror}", "copy the version again, whole, or build it again") from error


def _check(path: Path, sha256: str, manifest: Manifest) -> None:
    said = manifest.artifacts[path.name].sha256
    if sha256 != said:
        raise AuditError(f"{path} is not what {MANIFEST} says: SHA-256 {sha256}, not {said}", _DAMAGED)
