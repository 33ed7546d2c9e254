"""What an upload is made of: the pieces of a version directory with their digests, read once."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.archive.unpack import index_in
from builder.errors import AuditError
from builder.model.artifacts.manifest import BUNDLE, CHECKSUMS, INDEX, MANIFEST, ROOTFS, Manifest
from builder.output.given import SIGNATURE, open_given
from builder.output.versions import verify_sizes
from builder.system.files import sha256_of_first
from builder.system.guarded.held import HeldDirectory
from builder.transports.http.client import FilePart
from builder.transports.layers import cut_layers

# a registry that lost a connection in the middle of a blob may want it from its beginning
LARGEST_PART = 2 << 20
# registries take manifests of 4 MiB, and a layer needs about 235 bytes in one
MOST_LAYERS = 16000
# all but the archive must have room in that: manifest, signature, checksums, index, and a bundle in one part or more
LEAST_LAYERS = 16
_SHARE_OF_BUNDLE = 16
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


def whole_files(version: HeldDirectory, manifest: Manifest) -> list[Piece]:
    """Every file of a version, the manifest last; AuditError where one is not what the manifest says."""
    verify_sizes(version, manifest.artifacts)
    large = [_whole(version, name) for name in (INDEX, BUNDLE, ROOTFS)]
    for piece in large:
        _check(piece.part.path, piece.sha256, manifest)
    return [*large, *_small(version)]


@dataclass(frozen=True)
class Cut:
    """A version in pieces, in the order in which they make it up again.

    most: how many there may be, where the fine cut has more; None: they are the fine cut
    """

    pieces: Sequence[Piece]
    most: int | None = None


def layers(version: HeldDirectory, manifest: Manifest, most: int | None = None) -> Cut:
    """Every file of a version, bundle and archive in parts, in the order in which they make those up again.

    most: of them, at least LEAST_LAYERS; None: as many as any registry takes

    AuditError where a file is not what the manifest says.
    """
    verify_sizes(version, manifest.artifacts)
    index, small = _whole(version, INDEX), [*reversed(_small(version))]
    _check(index.part.path, index.sha256, manifest)
    bound, whole = min(most or MOST_LAYERS, MOST_LAYERS), index_in(version)
    size, part = manifest.artifacts[BUNDLE].size, LARGEST_PART
    runs = cut_layers(whole)
    is_fine = len(small) + 1 + -(-size // part) + len(runs) <= bound
    if not is_fine:
        part = max(LARGEST_PART, -(-size // max(1, bound // _SHARE_OF_BUNDLE)))
        runs = cut_layers(whole, bound - len(small) - 1 - -(-size // part))
    bundle = _cut(version, BUNDLE, itertools.repeat(part), manifest)
    archive = _cut(version, ROOTFS, (sum(frame.size for frame in run) for run in runs), manifest)
    return Cut([*small, index, *bundle, *archive], None if is_fine else most)


def _small(version: HeldDirectory) -> list[Piece]:
    return [_whole(version, name) for name in SMALL if version.kind(name)]


def _cut(version: HeldDirectory, name: str, sizes: Iterable[int], manifest: Manifest) -> list[Piece]:
    """A file in parts of these sizes, under names that sort as they follow each other: NAME.00001 and so on."""
    whole, found, offset = hashlib.sha256(), [], 0
    with open_given(version, name) as file:
        for number, size in enumerate(sizes, start=1):
            data = file.read(size)
            if not data:
                break
            whole.update(data)
            part = FilePart(version, name, offset, len(data))
            found.append(Piece(f"{name}.{number:05}", part, hashlib.sha256(data).hexdigest()))
            offset += len(data)
        while data := file.read(_BLOCK):
            whole.update(data)
    _check(version.path / name, whole.hexdigest(), manifest)
    return found


def _whole(version: HeldDirectory, name: str) -> Piece:
    with open_given(version, name) as file:
        size = os.fstat(file.fileno()).st_size
        return Piece(name, FilePart(version, name, 0, size), sha256_of_first(file, size))


def _check(path: Path, sha256: str, manifest: Manifest) -> None:
    said = manifest.artifacts[path.name].sha256
    if sha256 != said:
        raise AuditError(f"{path} is not what {MANIFEST} says: SHA-256 {sha256}, not {said}", _DAMAGED)
