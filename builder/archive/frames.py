"""Cutting a tar into independently compressed zstd frames, by the names of its members.

A frame ends where the hash of a member's name says so, weighted by the member's size, so that the cuts do not depend
on contents: an edit changes only the frames it touches. At least 64 KiB, about 256 KiB, at most 1 MiB; a larger
member lies alone, in pieces of 1 MiB counted from its start.
"""

from __future__ import annotations

import collections
import concurrent.futures
import hashlib
import threading
from typing import BinaryIO

import zstandard

from builder.model.artifacts.index import LARGEST_FRAME, Frame

SMALLEST, MEAN, LARGEST = 64 << 10, 256 << 10, LARGEST_FRAME
LEVEL = 3
_THREADS = 2
_local = threading.local()


def cuts_after(name: bytes, size: int) -> bool:
    """Whether a frame that is large enough ends after the member `name` of `size` bytes (header included)."""
    chance = min(size / (MEAN - SMALLEST), 1.0)
    return int.from_bytes(hashlib.sha256(name).digest()[:8], "big") < chance * 2**64


def compress(data: bytes) -> tuple[bytes, str]:
    """One frame with content size and checksum, and the SHA-256 of its bytes."""
    if not hasattr(_local, "compressor"):
        _local.compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True, write_content_size=True)
    frame: bytes = _local.compressor.compress(data)
    return frame, hashlib.sha256(frame).hexdigest()


class FrameWriter:
    """Takes the bytes of a tar, member by member, and writes frames to `output`.

    Call `begin(name, size)` before a member's bytes, `write` for them, `close` at the end.
    """

    def __init__(self, output: BinaryIO) -> None:
        self.frames: list[Frame] = []
        self._output = output
        self._pool = concurrent.futures.ThreadPoolExecutor(_THREADS, "zstd")
        self._pending: collections.deque[tuple[int, concurrent.futures.Future[tuple[bytes, str]]]] = collections.deque()
        self._parts: list[bytes] = []
        self._length = 0
        self._name = b""
        self._alone = False
        self._started = 0
        self._count = 0

    def begin(self, name: bytes, size: int) -> None:
        """Starts a member whose header and content together have at most `size` bytes."""
        self._finish_member()
        if self._length + size > LARGEST:
            self._cut()
        self._alone = size > LARGEST
        self._name = name
        self._started = self._length

    @property
    def number(self) -> int:
        """The number of the frame that the next byte goes into."""
        return self._count

    def write(self, data: bytes) -> int:
        """Adds bytes of the current member."""
        length = len(data)
        while self._alone and self._length + len(data) >= LARGEST:
            room = LARGEST - self._length
            self._append(data[:room])
            self._cut()
            data = data[room:]
        self._append(data)
        return length

    def close(self) -> list[Frame]:
        """Writes what is left and returns the table of frames."""
        self._finish_member()
        self._cut()
        while self._pending:
            self._collect()
        self._pool.shutdown()
        return self.frames

    def abort(self) -> None:
        """Ends the threads; what was written is of no use."""
        self._pool.shutdown(cancel_futures=True)

    def _append(self, data: bytes) -> None:
        if data:
            self._parts.append(data)
            self._length += len(data)

    def _finish_member(self) -> None:
        size = self._length - self._started
        if self._alone or (self._length >= SMALLEST and cuts_after(self._name, size)):
            self._cut()
        self._alone = False

    def _cut(self) -> None:
        if not self._length:
            return
        data = b"".join(self._parts)
        self._parts, self._length, self._started = [], 0, 0
        self._count += 1
        self._pending.append((len(data), self._pool.submit(compress, data)))
        if len(self._pending) > 4 * _THREADS:
            self._collect()

    def _collect(self) -> None:
        plain_size, future = self._pending.popleft()
        frame, sha256 = future.result()
        offset = self.frames[-1].offset + self.frames[-1].size if self.frames else 0
        self.frames.append(Frame(offset, len(frame), plain_size, sha256))
        self._output.write(frame)
