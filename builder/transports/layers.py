"""Cutting an archive into layers: runs of whole frames, at the same names from version to version.

The fine cut: a layer ends where the hash of a frame's first name says so, weighted with the frame's plain size, so that
the cuts do not depend on contents. What changes together lies together: the pieces of a member that is larger than a
frame, and the modules of a kernel, which are half of the frames of a small image.

The bounded cut has so many layers at most, whatever the size. Every frame may begin a layer; those with the lowest
hashes of their names do, unless a chosen one is near. A member more or less moves few of them, since the hashes of all
others stay what they are. Where many small files lie layers are short, since one edited file sends its layer: for the
least bytes in all their density goes with the square root of the files in a byte. The sizes are measured, see
docs/formats.md.
"""

from __future__ import annotations

import bisect
import hashlib
import math
from collections import Counter
from collections.abc import Sequence

from builder.model.artifacts.index import FILE, Frame, Index

# of plain bytes: what lies beside an edited file is text, which shrinks to a quarter
SMALLEST, MEAN, LARGEST = 64 << 10, 256 << 10, 1 << 20
# of what changes together
_TOGETHER = 8
_MODULES = ("usr/lib/modules/", "lib/modules/")
# of a bounded cut: what counts as how much, a frame of files as four of them at least
_FILE, _LEAST_FILES, _PIECE, _MODULE = 4, 4, 4, 1


def cut_layers(index: Index, most: int | None = None) -> list[Sequence[Frame]]:
    """The frames of an archive in their order, in runs: the fine cut, or where that has more the bounded one.

    most: layers
    """
    names = first_names(index)
    layers: list[list[Frame]] = []
    size = 0
    for number, frame in enumerate(index.frames):
        if not layers or _begins_layer(index.frames, names, number, size):
            layers.append([])
            size = 0
        layers[-1].append(frame)
        size += frame.plain_size
    if most is None or len(layers) <= most:
        return list(layers)
    return _bounded_cut(index, names, most)


def first_names(index: Index) -> list[str | None]:
    """The path that begins each frame; None for the further pieces of a large member."""
    names: list[str | None] = [None] * len(index.frames)
    for file in reversed(index.files):
        names[file.frame] = file.path
    return names


def _begins_layer(frames: Sequence[Frame], names: Sequence[str | None], number: int, size: int) -> bool:
    """Whether frame `number` begins a layer, when the one before it has `size` plain bytes so far."""
    name, before = names[number], names[number - 1]
    if name is None:
        return size + frames[number].plain_size > LARGEST * _TOGETHER
    is_large = names[number + 1 : number + 2] == [None]
    together = name.startswith(_MODULES)
    if before is None or is_large or together != before.startswith(_MODULES):
        return True
    weight = _TOGETHER if together else 1
    if size + frames[number].plain_size > LARGEST * weight:
        return True
    chance = frames[number - 1].plain_size / ((MEAN - SMALLEST) * weight)
    return size >= SMALLEST * weight and _hash(name) < chance * 2.0**64


def _bounded_cut(index: Index, names: Sequence[str | None], most: int) -> list[Sequence[Frame]]:
    """Whole numbers throughout, so that every machine cuts alike."""
    weights = _weights(index, names)
    places = [0]
    for weight in weights:
        places.append(places[-1] + weight)
    nearest = places[-1] // (2 * most)
    order = sorted(range(1, len(index.frames)), key=_ranks(names).__getitem__)
    taken: list[int] = []  # places that begin a layer
    begins = [0]
    for number in order:
        place = places[number]
        at = bisect.bisect_left(taken, place)
        beside = taken[max(0, at - 1) : at + 1]
        if len(begins) < most and all(abs(place - one) >= nearest for one in beside):
            taken.insert(at, place)
            begins.append(number)
    begins.sort()
    return [index.frames[first:end] for first, end in zip(begins, [*begins[1:], len(index.frames)], strict=True)]


def _weights(index: Index, names: Sequence[str | None]) -> list[int]:
    """How much of the layers each frame should have."""
    files = Counter(file.frame for file in index.files if file.type == FILE)
    weights, together = [], False
    for number, frame in enumerate(index.frames):
        name = names[number]
        together = together if name is None else name.startswith(_MODULES)
        count = _PIECE if name is None else _FILE * max(_LEAST_FILES, files[number])
        weights.append(math.isqrt((_MODULE if together else count) * frame.plain_size << 8))
    return weights


def _ranks(names: Sequence[str | None]) -> list[tuple[int, int]]:
    """What frames are chosen by, the lowest first: further pieces of a member are named after it and counted."""
    ranks, last, piece = [], "", 0
    for name in names:
        last, piece = (last, piece + 1) if name is None else (name, 0)
        ranks.append((_hash(f"{last}\0{piece}" if piece else last), piece))
    return ranks


def _hash(name: str) -> int:
    """A number below 2^64 that belongs to a name, another than that which cut the frames."""
    return int.from_bytes(hashlib.sha256(b"layer\0" + name.encode()).digest()[:8], "big")
