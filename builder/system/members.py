"""Reading our archives: every frame is checked before it is decompressed, every member compared with its record."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import ctypes
import dataclasses
import hashlib
import io
import locale
import logging
import operator
import os
import threading
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import libarchive
import zstandard
from libarchive import ffi
from libarchive.exception import ArchiveError

from builder.errors import AuditError
from builder.model.index import DIRECTORY, FILE, HARDLINK, SYMLINK, FileRecord, Frame

AGAIN = "copy or build the version again"
_LARGEST_BUNDLE = 1 << 30
_PIECE = 1 << 20
_THREADS, _AHEAD = 2, 6
_BLOCK = 1 << 20  # read at once
_UNSAID = ("sha256", "frame")  # by the headers of a tar
_said = operator.attrgetter(*(field.name for field in dataclasses.fields(FileRecord) if field.name not in _UNSAID))
Block: TypeAlias = "ctypes.Array[ctypes.c_char]"
_local = threading.local()
_xattr_reset = ffi.ffi("entry_xattr_reset", [ffi.c_archive_entry_p], ctypes.c_int)
_xattr_next = ffi.ffi(
    "entry_xattr_next",
    [
        ffi.c_archive_entry_p,
        ctypes.POINTER(ctypes.c_char_p),
        ctypes.POINTER(ctypes.c_void_p),
        ctypes.POINTER(ctypes.c_size_t),
    ],
    ctypes.c_int,
)


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

    A piece of content is valid until the next one is asked for.

    Raises AuditError where the archive, called `name`, differs from the records; errors of `plain` pass through.
    """
    stream = PlainStream(plain)
    block: Block = ctypes.create_string_buffer(_BLOCK)  # one for all: making it takes longer than most files
    expected = iter(records)
    try:
        with _strictly(), libarchive.stream_reader(stream, "tar", block_size=_BLOCK) as members:
            for member in members:
                yield _matched(name, next(expected, None), member), _content(name, stream, member, block)
    except ArchiveError as error:
        raise stream.error or AuditError(f"{name}: no tar archive: {error}", AGAIN) from error
    if stream.error is not None:
        raise stream.error
    missing = next(expected, None)
    if missing is not None:
        raise AuditError(f"{name} ends before {missing.path!r}, which the index says it holds", AGAIN)


def _content(name: str, stream: PlainStream, member: Any, block: Block) -> Iterator[memoryview]:  # noqa: ANN401
    view = memoryview(block)
    try:
        while count := ffi.read_data(member._archive_p, block, len(block)):
            yield view[:count]
    except ArchiveError as error:
        raise stream.error or AuditError(f"{name}: {member.pathname!r} ends too early: {error}", AGAIN) from error


def plain_frames(name: str, frames: Sequence[Frame], pieces: Iterator[bytes]) -> Generator[bytes]:
    """The plain bytes of frames from their compressed ones, each checked first; AuditError names the place.

    Checking and decompressing happen in threads a few frames ahead of the reader.
    """
    pending: collections.deque[concurrent.futures.Future[bytes]] = collections.deque()
    pool = concurrent.futures.ThreadPoolExecutor(_THREADS, "unzstd")
    try:
        for frame in frames:
            pending.append(pool.submit(_decompress, name, frame, next(pieces, b"")))
            if len(pending) > _AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


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


def decompress(path: Path, limit: int) -> bytes:
    """The plain content of a zstd file, but no more than `limit` + 1 bytes of it; ZstdError when it is damaged.

    In pieces: a reader takes all the memory that it is asked for before it knows how much comes, and small servers
    have not as much as the limit.
    """
    plain = io.BytesIO()
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as reader:
        while piece := reader.read(min(_PIECE, limit + 1 - plain.tell())):
            plain.write(piece)
    return plain.getvalue()


def read_members(archive: Path) -> dict[str, bytes]:
    """The files of a small archive (a bundle) by name; AuditError when it is none."""
    try:
        plain = decompress(archive, _LARGEST_BUNDLE)
        if len(plain) > _LARGEST_BUNDLE:
            raise AuditError(f"{archive} holds more than {_LARGEST_BUNDLE >> 30} GiB", "this is no bundle")
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
    # libarchive gives None for what is no UTF-8
    if not name or not name.isprintable() or any(part in ("", ".", "..") for part in name.split("/")):
        raise AuditError(f"{archive}: {name!r} is no plain name", AGAIN)
    return name


class PlainStream(io.RawIOBase):
    """Plain frames as one stream.

    libarchive calls it from C, where an exception would be lost, or worse: a fault ends the stream and is in `error`.
    """

    def __init__(self, plain: Iterator[bytes]) -> None:
        super().__init__()
        self.error: BaseException | None = None
        self._frames = plain
        self._plain = memoryview(b"")
        self._position = 0

    def readable(self) -> bool:
        """Always true."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - whatever has a buffer
        """Fills `buffer` from the current frame; 0 at the end, or at the first fault."""
        if self._position == len(self._plain):
            self._plain, self._position = memoryview(self._next()), 0
        count = min(len(buffer), len(self._plain) - self._position)
        memoryview(buffer).cast("B")[:count] = self._plain[self._position : self._position + count]
        self._position += count
        return count

    def _next(self) -> bytes:
        if self.error is not None:
            return b""
        try:
            return next(self._frames, b"")
        except BaseException as error:
            self.error = error
            return b""


def _matched(archive: str, record: FileRecord | None, member: Any) -> FileRecord:  # noqa: ANN401
    """The record, if the member's header says the same."""
    name = member.pathname
    path = os.path.normpath(name) if name else None
    if record is None or path != record.path or name.startswith(("/", "../")):
        raise AuditError(f"{archive} holds {name!r} where the index says {record and record.path!r}", AGAIN)
    found = _record(member, path)
    if _said(found) == _said(record):
        return record
    for field in dataclasses.fields(FileRecord):
        there, said = getattr(found, field.name), getattr(record, field.name)
        if field.name not in _UNSAID and there != said:
            message = f"{archive}: {path!r} has {field.name} {there!r} where the index says {said!r}"
            raise AuditError(message, AGAIN)
    return record


def _record(member: Any, path: str) -> FileRecord:  # noqa: ANN401
    """What a member's header says, as the index has it."""
    kinds = ((member.islnk, HARDLINK), (member.issym, SYMLINK), (member.isdir, DIRECTORY), (member.isreg, FILE))
    kind = next((name for holds, name in kinds if holds), "?")
    return FileRecord(
        path=path,
        type=kind,
        mode=member.mode & 0o7777,
        uid=member.uid,
        gid=member.gid,
        mtime=member.mtime,
        size=member.size or 0,
        sha256="",
        link=(member.linkpath or "") if kind in (HARDLINK, SYMLINK) else "",
        xattrs=_xattrs(member),
        frame=0,
    )


def _xattrs(member: Any) -> dict[str, str]:  # noqa: ANN401
    entry = member._entry_p
    name, value, size = ctypes.c_char_p(), ctypes.c_void_p(), ctypes.c_size_t()
    found = {}
    for _ in range(_xattr_reset(entry)):
        _xattr_next(entry, ctypes.byref(name), ctypes.byref(value), ctypes.byref(size))
        content = ctypes.string_at(value, size.value) if value.value else b""
        found[(name.value or b"").decode("utf-8", "backslashreplace")] = content.hex()
    return found
