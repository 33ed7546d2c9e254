"""Writing the files of an archive: no more of it is read than they need, and every byte is checked.

Frames are decompressed in threads, and that is all that threads are good for here: hashing and writing in them takes
longer, since each file is waited for at the interpreter.
"""

from __future__ import annotations

import bisect
import concurrent.futures
import hashlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from builder.archive.directories import Directories
from builder.archive.members import AGAIN, plain_frames, read_archive
from builder.errors import AuditError, HostError
from builder.model.artifacts.index import FileRecord, Frame, Index
from builder.output.source import Source
from builder.system.files import write_sparse

OnFile = Callable[[str], None]
_THREADS = 2
_SPARSE = 64 << 10  # bytes: a smaller file has no hole


@dataclass(frozen=True)
class FrameRun:
    """Consecutive frames that begin with a member, and the records of the members in them."""

    frames: slice
    records: slice


def runs_of(index: Index, wanted: Sequence[int] | None) -> list[FrameRun]:
    """The shortest runs of frames that hold the files at the positions `wanted`; None: one run of everything."""
    if wanted is None:
        return [FrameRun(slice(0, len(index.frames)), slice(0, len(index.files)))]
    spans: list[list[int]] = []
    for position in wanted:
        first = index.files[position].frame
        after = index.files[position + 1].frame if position + 1 < len(index.files) else len(index.frames)
        end = max(after, first + 1)
        if spans and first <= spans[-1][1]:
            spans[-1][1] = max(spans[-1][1], end)
        else:
            spans.append([first, end])
    starts = [record.frame for record in index.files]
    return [
        FrameRun(slice(first, end), slice(bisect.bisect_left(starts, first), bisect.bisect_left(starts, end)))
        for first, end in spans
    ]


def write_content(
    directories: Directories, source: Source, index: Index, runs: Sequence[FrameRun], wanted: set[int], on_file: OnFile
) -> None:
    """Makes the files at the positions `wanted`, which lie in `runs`; AuditError where anything is not as indexed."""
    frames: list[Frame] = [frame for run in runs for frame in index.frames[run.frames]]
    with concurrent.futures.ThreadPoolExecutor(_THREADS, "unpack") as pool:
        plain = plain_frames(source.name, frames, source.frames(frames), pool)
        for run in runs:
            content = itertools.islice(plain, run.frames.stop - run.frames.start)
            members = read_archive(source.name, content, index.files[run.records])
            for position, (record, blocks) in enumerate(members, run.records.start):
                if position in wanted:
                    on_file(record.path)
                    _write_file(*directories.parent(record.path), record, blocks)


def _write_file(parent: int, name: str, record: FileRecord, blocks: Iterator[memoryview]) -> None:
    # without a file object: to make one takes as long as most files
    handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent)
    try:
        digest = hashlib.sha256()
        for block in blocks:
            digest.update(block)
            write_sparse(handle, block)
        if record.size >= _SPARSE:
            os.ftruncate(handle, record.size)
        if digest.hexdigest() != record.sha256:
            raise AuditError(f"{record.path!r} is not what the index says", AGAIN)
        apply_metadata(handle, record)
    finally:
        os.close(handle)


def apply_metadata(handle: int, record: FileRecord) -> None:
    """Gives an open file its owner, mode, xattrs and time; HostError for an attribute that cannot be had here."""
    # chown clears setuid bits and capabilities, so it comes first
    os.fchown(handle, record.uid, record.gid)
    os.fchmod(handle, record.mode)
    for name, value in record.xattrs.items():
        try:
            os.setxattr(handle, name, bytes.fromhex(value))
        except OSError as error:
            message = f"{record.path!r} cannot have the attribute {name} here: {error.strerror}"
            raise HostError(message, "unpack onto a file system with extended attributes") from error
    os.utime(handle, (record.mtime, record.mtime))
