"""Cutting an archive into layers: runs of whole frames, at the same names from version to version.

A layer ends where the hash of a frame's first name says so, weighted with the frame's plain size, so that the cuts do
not depend on contents. What changes together lies together: the pieces of a member that is larger than a frame, and
the modules of a kernel, which are half of the frames of a small image. The sizes are measured, see docs/formats.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from builder.model.artifacts.index import Frame, Index

# of plain bytes: what lies beside an edited file is text, which shrinks to a quarter
SMALLEST, MEAN, LARGEST = 64 << 10, 256 << 10, 1 << 20
# of what changes together
_TOGETHER = 8
_MODULES = ("usr/lib/modules/", "lib/modules/")
# registries take manifests of 4 MiB, and a layer needs about 215 bytes in one
_MOST_FRAMES = 16384


def cut_layers(index: Index) -> list[Sequence[Frame]]:
    """The frames of an archive in their order, in runs."""
    names = first_names(index)
    scale = max(1, len(index.frames) // _MOST_FRAMES)
    layers: list[list[Frame]] = []
    size = 0
    for number, frame in enumerate(index.frames):
        if not layers or _begins_layer(index.frames, names, number, size, scale):
            layers.append([])
            size = 0
        layers[-1].append(frame)
        size += frame.plain_size
    return list(layers)


def first_names(index: Index) -> list[str | None]:
    """The path that begins each frame; None for the further pieces of a large member."""
    names: list[str | None] = [None] * len(index.frames)
    for file in reversed(index.files):
        names[file.frame] = file.path
    return names


def _begins_layer(frames: Sequence[Frame], names: Sequence[str | None], number: int, size: int, scale: int) -> bool:
    """Whether frame `number` begins a layer, when the one before it has `size` plain bytes so far."""
    name, before = names[number], names[number - 1]
    if name is None:
        return size + frames[number].plain_size > LARGEST * _TOGETHER * scale
    is_large = names[number + 1 : number + 2] == [None]
    together = name.startswith(_MODULES)
    if before is None or is_large or together != before.startswith(_MODULES):
        return True
    weight = scale * _TOGETHER if together else scale
    if size + frames[number].plain_size > LARGEST * weight:
        return True
    chance = frames[number - 1].plain_size / ((MEAN - SMALLEST) * weight)
    return size >= SMALLEST * weight and _hash(name) < chance


def _hash(name: str) -> float:
    """A number from 0 to 1 that belongs to a name, another than that which cut the frames."""
    return int.from_bytes(hashlib.sha256(b"layer\0" + name.encode()).digest()[:8], "big") / 2.0**64
