"""Reading our archives: every frame is checked before it is decompressed, every member compared with its record."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import hashlib
import locale
import logging
import operator
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import libarchive
import zstandard
from libarchive import ffi
from libarchive.exception import ArchiveError

from builder.archive.headers import BLOCK, FIELDS, Header, read_header
from builder.errors import AuditError
from builder.model.artifacts.index import FileRecord, Frame

AGAIN = "copy or build the version again"
_LARGEST_BUNDLE = 1 << 30
_PIECE = 1 << 20
_ALWAYS, _RATIO = 16 << 20, 64  # plain bytes: so many, and so many for a compressed one
_LARGEST_WINDOW = 64 << 20  # bytes of memory that a frame may ask for; ours ask for 8 MiB at most
_AHEAD = 6
_said = operator.attrgetter(*FIELDS)
_local = threading.local()


def set_names_to_utf8() -> None:
    """By LC_CTYPE, whatever Python uses, libarchive converts names; under C it would refuse them, or worse."""
    locale.setlocale(locale.LC_CTYPE, "C.UTF-8")


class _Refusal(logging.Filter):
    """libarchive-c only logs what libarchive warns of and reads on; in our archives there is nothing to warn of."""

    def filter(self, record: logging.LogRecord) -> bool:
        raise ArchiveError(record.getMessage())


@contextlib.contextmanager
def _strictly() -> Iterator[None]:
    """Within it, a warning of libarchive is an ArchiveError."""
    set_names_to_utf8()
    refusal = _Refusal()
    ffi.logger.addFilter(refusal)
    try:
        yield
    finally:
        ffi.logger.removeFilter(refusal)


def read_archive(
    name: str, plain: Iterator[bytes], records: Sequence[FileRecord]
) -> Iterator[tuple[FileRecord, Iterator[memoryview]]]:
    """Each record with its member's content, from the plain frames of a whole archive or of a run of its members.

    A piece of content is to be read before the next member is asked for.

    Raises AuditError where the archive, called `name`, differs from the records; errors of `plain` pass through.
    """
    stream = _PlainStream(plain)
    for record in records:
        try:
            header = read_header(stream.read)
        except ValueError as error:
            raise AuditError(f"{name}: no tar archive of ours: {error}", AGAIN) from error
        if header is None:
            raise AuditError(f"{name} ends before {record.path!r}, which the index says it holds", AGAIN)
        if header != _said(record):
            raise AuditError(_difference(name, header, record), AGAIN)
        content = _content(name, stream, record)
        yield record, content
        for _ in content:
            pass  # what nobody wanted
    for block in stream.pieces(sys.maxsize):
        if block.tobytes().strip(b"\0"):
            raise AuditError(f"{name} holds more than the index says", AGAIN)


def _content(name: str, stream: _PlainStream, record: FileRecord) -> Iterator[memoryview]:
    left = record.size
    for piece in stream.pieces(record.size):
        left -= len(piece)
        yield piece
    if left:
        raise AuditError(f"{name}: {record.path!r} ends too early", AGAIN)
    stream.read(-record.size % BLOCK)


def _difference(archive: str, header: Header, record: FileRecord) -> str:
    if header[0] != record.path:
        return f"{archive} holds {header[0]!r} where the index says {record.path!r}"
    fields = zip(FIELDS, header, _said(record), strict=True)
    field, there, said = next((field, there, said) for field, there, said in fields if there != said)
    return f"{archive}: {record.path!r} has {field} {there!r} where the index says {said!r}"


class _PlainStream:
    """Plain frames as one stream, without copies where a piece lies in one of them."""

    def __init__(self, frames: Iterator[bytes]) -> None:
        self._frames = frames
        self._plain = memoryview(b"")

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end."""
        if size <= len(self._plain):
            data, self._plain = self._plain[:size].tobytes(), self._plain[size:]
            return data
        return b"".join(self.pieces(size))

    def pieces(self, size: int) -> Iterator[memoryview]:
        """The next `size` bytes as they lie in frames, fewer at the end."""
        while size > 0 and self._fill():
            piece, self._plain = self._plain[:size], self._plain[size:]
            size -= len(piece)
            yield piece

    def _fill(self) -> bool:
        if not self._plain:
            self._plain = memoryview(next(self._frames, b""))
        return bool(self._plain)


def plain_frames(
    name: str, frames: Sequence[Frame], pieces: Iterator[bytes], pool: concurrent.futures.Executor
) -> Iterator[bytes]:
    """The plain bytes of frames from their compressed ones, each checked first; AuditError names the place.

    Checking and decompressing happen in the threads of `pool`, a few frames ahead of the reader.
    """
    pending: collections.deque[concurrent.futures.Future[bytes]] = collections.deque()
    for frame in frames:
        pending.append(pool.submit(_decompress, name, frame, next(pieces, b"")))
        if len(pending) > _AHEAD:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _decompress(name: str, frame: Frame, data: bytes) -> bytes:
    if len(data) != frame.size or hashlib.sha256(data).hexdigest() != frame.sha256:
        raise AuditError(f"{name}: damaged at byte {frame.offset}", AGAIN)
    if not hasattr(_local, "decompressor"):
        _local.decompressor = zstandard.ZstdDecompressor()
    try:
        # a frame that says it is larger would be believed, and memory taken for it
        if zstandard.frame_content_size(data) != frame.plain_size:
            raise AuditError(f"{name}: the frame at byte {frame.offset} is not as long as the index says", AGAIN)
        plain: bytes = _local.decompressor.decompress(data, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise AuditError(f"{name}: no zstd frame at byte {frame.offset}: {error}", AGAIN) from error
    if len(plain) != frame.plain_size:
        raise AuditError(f"{name}: the frame at byte {frame.offset} is not as long as the index says", AGAIN)
    return plain


def decompress(file: BinaryIO, limit: int, size: int) -> bytes:
    """The plain content of a zstd file of `size` bytes from where it stands; ZstdError when it is damaged.

    No more than `limit` + 1 bytes of it, and in pieces: a reader takes all the memory that it is asked for before it
    knows how much comes, and small servers have not as much as the limit. A few bytes that become very many are no
    content of ours, and ZstdError too: whoever wants memory to be taken has to send something for it.
    """
    plain = bytearray()
    most = min(limit, _ALWAYS + _RATIO * size)
    decompressor = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
    with decompressor.stream_reader(file, read_across_frames=True, closefd=False) as reader:
        while piece := reader.read(min(_PIECE, limit + 1 - len(plain))):
            plain += piece
            if len(plain) > most and most < limit:
                raise zstandard.ZstdError(f"{size} bytes become more than {most}")
    return bytes(plain)


def read_members(archive: Path) -> dict[str, bytes]:
    """The files of a small archive (a bundle) by name; AuditError when it is none."""
    try:
        with archive.open("rb") as file:
            plain = decompress(file, _LARGEST_BUNDLE, archive.stat().st_size)
        if len(plain) > _LARGEST_BUNDLE:
            raise AuditError(f"{archive} holds more than {_LARGEST_BUNDLE >> 30} GiB", "this is not a bundle")
        with _strictly(), libarchive.memory_reader(plain, "tar") as members:
            files: dict[str, bytes] = {}
            for member in members:
                if member.isfile:
                    name = _plain_name(archive, member)
                    if name in files:
                        raise AuditError(f"{archive}: {name!r} comes twice", AGAIN)
                    files[name] = b"".join(member.get_blocks())
            return files
    except (zstandard.ZstdError, ArchiveError) as error:
        raise AuditError(f"{archive}: damaged: {error}", AGAIN) from error


def _plain_name(archive: Path, member: Any) -> str:  # noqa: ANN401 - libarchive has no types
    name: str | None = member.pathname
    # libarchive gives None for what is not UTF-8
    if not name or not name.isprintable() or any(part in ("", ".", "..") for part in name.split("/")):
        raise AuditError(f"{archive}: {name!r} is not a plain name", AGAIN)
    return name
