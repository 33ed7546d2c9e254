"""Which bytes to ask for: frames that lie side by side come in one request."""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from builder.errors import AuditError
from builder.model.artifacts.index import Frame

# a request costs about as much as these bytes; the facts of docs/formats.md
_GAP = 64 << 10
_LARGEST_RUN = 4 << 20
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/(?:[0-9]{1,19}|\*)", re.IGNORECASE)


@dataclass(frozen=True)
class Extent:
    """Where a part of the archive lies: `offset` in the archive, `size`, the address of the file that is that part."""

    offset: int
    size: int
    url: str


@dataclass(frozen=True)
class RangeRequest:
    """One request: the frames that it brings, all of one extent."""

    extent: Extent
    frames: tuple[Frame, ...]

    def range_of(self, frames: Sequence[Frame]) -> tuple[int, int] | None:
        """First and last byte in the file that hold these frames; None when that is all of it."""
        first = frames[0].offset - self.extent.offset
        last = frames[-1].offset + frames[-1].size - self.extent.offset - 1
        return None if (first, last + 1) == (0, self.extent.size) else (first, last)


def plan_runs(frames: Sequence[Frame], extents: Sequence[Extent]) -> Iterator[RangeRequest]:
    """Requests for the frames, in the order given; gaps that cost less than a request are fetched along."""
    starts = [extent.offset for extent in extents]
    pending: list[Frame] = []
    place: Extent | None = None
    for frame in frames:
        extent = _extent_of(frame, extents, starts)
        if place is not None and not (extent is place and _follows(pending, frame)):
            yield RangeRequest(place, tuple(pending))
            pending = []
        place = extent
        pending.append(frame)
    if place is not None:
        yield RangeRequest(place, tuple(pending))


def first_byte(status: int, content_range: str | None, asked: int) -> int:
    """Where the body of an answer begins: 200 brings the whole file, 206 what Content-Range says.

    ValueError for a 206 of other bytes than were asked for.
    """
    if status != 206:
        return 0
    found = _CONTENT_RANGE.fullmatch(content_range or "")
    if not found or int(found[1]) != asked:
        raise ValueError(f"bytes {asked}- were asked for, and came: {content_range}")
    return asked


def _follows(pending: Sequence[Frame], frame: Frame) -> bool:
    gap = frame.offset - (pending[-1].offset + pending[-1].size)
    return 0 <= gap < _GAP and frame.offset + frame.size - pending[0].offset <= _LARGEST_RUN


def _extent_of(frame: Frame, extents: Sequence[Extent], starts: Sequence[int]) -> Extent:
    number = bisect.bisect_right(starts, frame.offset) - 1
    if number >= 0:
        extent = extents[number]
        if frame.offset + frame.size <= extent.offset + extent.size:
            return extent
    raise AuditError(
        f"the index has a frame at byte {frame.offset} that is in no layer as a whole", "upload the version again"
    )
