"""A squarified treemap (Bruls, Huizing, van Wijk, 2000): boxes as rectangles whose areas are their sizes. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from builder.model.artifacts.report import Box

_HEAD = 15.0
_EDGE = 2.0
_SMALLEST_NEST = 60.0


@dataclass(frozen=True)
class Tile:
    """A rectangle of the map. depth: how many boxes it lies in; nested: whether others lie in it."""

    box: Box
    x: float
    y: float
    width: float
    height: float
    depth: int
    nested: bool


def lay_out(boxes: Sequence[Box], width: float, height: float) -> list[Tile]:
    """Tiles that fill width x height, outer ones first; boxes are sorted by size, the largest first."""
    return list(_tiles(boxes, (0.0, 0.0, width, height), 0))


def _tiles(boxes: Sequence[Box], area: tuple[float, float, float, float], depth: int) -> Iterator[Tile]:
    for box, (x, y, width, height) in zip(boxes, squarify([box.size for box in boxes], *area), strict=True):
        nested = bool(box.inner) and width > _SMALLEST_NEST and height > _SMALLEST_NEST
        yield Tile(box, x, y, width, height, depth, nested)
        if nested:
            room = (x + _EDGE, y + _HEAD, width - 2 * _EDGE, height - _HEAD - _EDGE)
            yield from _tiles(box.inner, room, depth + 1)


def squarify(
    sizes: Sequence[float], x: float, y: float, width: float, height: float
) -> list[tuple[float, float, float, float]]:
    """A rectangle for each size (falling, above 0), together exactly the area given, as square as can be."""
    found: list[tuple[float, float, float, float]] = []
    left = list(sizes)
    while left:
        scale = width * height / sum(left)
        side = min(width, height)
        count = 1
        while count < len(left) and _worst(left[: count + 1], scale, side) <= _worst(left[:count], scale, side):
            count += 1
        row, left = left[:count], left[count:]
        thickness = sum(row) * scale / side if side else 0.0
        offset = 0.0
        for size in row:
            length = size * scale / thickness if thickness else 0.0
            along = (x + offset, y, length, thickness) if width < height else (x, y + offset, thickness, length)
            found.append(along)
            offset += length
        if width < height:
            y, height = y + thickness, max(0.0, height - thickness)
        else:
            x, width = x + thickness, max(0.0, width - thickness)
    return found


def _worst(row: Sequence[float], scale: float, side: float) -> float:
    """The worst proportion in a row of these sizes."""
    total = sum(row) * scale
    return max(side * side * max(row) * scale / total**2, total**2 / (side * side * min(row) * scale))
