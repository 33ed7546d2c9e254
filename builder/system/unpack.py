"""Unpacking a root file system strictly below one directory, exactly as its index says.

Every directory is opened without following links, so nothing is ever written outside the destination. A file that a
`Reuse` has already costs neither reading nor writing: only the frames of the others are asked for.
"""

from __future__ import annotations

import abc
import bisect
import hashlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import zstandard

from builder.errors import AuditError, HostError, InputError
from builder.model.index import DIRECTORY, FILE, HARDLINK, SYMLINK, FileRecord, Frame, Index
from builder.system.directories import Directories
from builder.system.members import AGAIN, decompress, plain_frames, read_archive
from builder.system.source import DirectorySource, Source

_LARGEST_INDEX = 256 << 20
OnFile = Callable[[str], None]


class Reuse(abc.ABC):
    """Files that are there already, in a version unpacked before."""

    @abc.abstractmethod
    def take(self, record: FileRecord, parent: int, name: str) -> bool:
        """Makes the file `name` in the directory `parent`, whole and with all its metadata; False where it cannot."""


@dataclass(frozen=True)
class Unpacked:
    """What an unpacking did: files reused, files written, their bytes, and the compressed bytes read for them."""

    reused: int
    written: int
    written_bytes: int
    read_bytes: int


def read_index(path: Path) -> Index:
    """Reads index.json.zst; AuditError when it is damaged."""
    try:
        data = decompress(path, _LARGEST_INDEX)
    except zstandard.ZstdError as error:
        raise AuditError(f"{path}: damaged: {error}", AGAIN) from error
    if len(data) > _LARGEST_INDEX:
        raise AuditError(f"{path}: larger than {_LARGEST_INDEX >> 20} MiB", "this is no index of a root file system")
    try:
        return Index.from_json(data)
    except ValueError as error:
        raise AuditError(f"{path}: {error}", AGAIN) from error


def unpack(archive: Path, index: Path, destination: Path, on_file: OnFile = lambda name: None) -> None:
    """Unpacks a rootfs archive into `destination` (an empty directory), with owners, modes, times and xattrs.

    Raises AuditError when the archive is not exactly what the index says, InputError for a directory that is not empty.
    """
    unpack_source(DirectorySource(archive.parent, rootfs=archive.name), read_index(index), destination, on_file=on_file)


def unpack_source(
    source: Source, index: Index, destination: Path, reuse: Reuse | None = None, on_file: OnFile = lambda name: None
) -> Unpacked:
    """As `unpack`, from any source, and without reading the files that `reuse` has.

    With `reuse` only the frames that hold other files are read, and checked.
    """
    if any(destination.iterdir()):
        raise InputError(f"{destination} is not empty", "nothing is ever unpacked over something else")
    root = os.open(destination, os.O_RDONLY | os.O_DIRECTORY)
    directories = Directories(root)
    try:
        wanted = _make_without_content(directories, index.files, reuse, on_file)
        runs = _runs(index, None if reuse is None else wanted)
        _write_content(directories, source, index, runs, set(wanted), on_file)
        _make_hard_links(root, directories, index.files, on_file)
        # from the bottom up: writing into a directory changes its time, and its mode may forbid it
        for record in reversed(index.files):
            if record.type == DIRECTORY:
                _finish(root, directories, record)
    finally:
        directories.close()
        os.close(root)
    files = sum(record.type == FILE for record in index.files)
    return Unpacked(
        files - len(wanted),
        len(wanted),
        sum(index.files[position].size for position in wanted),
        sum(frame.size for run in runs for frame in index.frames[run.frames]),
    )


def _make_without_content(
    directories: Directories, records: Sequence[FileRecord], reuse: Reuse | None, on_file: OnFile
) -> list[int]:
    """Makes directories, symbolic links and reused files; the positions of the files that are still to be written."""
    wanted = []
    for position, record in enumerate(records):
        if record.type == HARDLINK or record.path == ".":
            continue
        parent, name = directories.parent(record.path)
        if record.type == DIRECTORY:
            os.mkdir(name, 0o700, dir_fd=parent)
        elif record.type == SYMLINK:
            _make_symlink(parent, name, record)
        elif reuse is None or not reuse.take(record, parent, name):
            wanted.append(position)
            continue
        on_file(record.path)
    return wanted


def _make_symlink(parent: int, name: str, record: FileRecord) -> None:
    os.symlink(record.link, name, dir_fd=parent)
    os.chown(name, record.uid, record.gid, dir_fd=parent, follow_symlinks=False)
    for key, value in record.xattrs.items():
        # there is no lsetxattrat(2); the directory's descriptor leads there without its name
        os.setxattr(f"/proc/self/fd/{parent}/{name}", key, bytes.fromhex(value), follow_symlinks=False)
    os.utime(name, (record.mtime, record.mtime), dir_fd=parent, follow_symlinks=False)


@dataclass(frozen=True)
class _Run:
    """Consecutive frames that begin with a member, and the records of the members in them."""

    frames: slice
    records: slice


def _runs(index: Index, wanted: Sequence[int] | None) -> list[_Run]:
    """The shortest runs of frames that hold the files at the positions `wanted`; None: one run of everything."""
    if wanted is None:
        return [_Run(slice(0, len(index.frames)), slice(0, len(index.files)))]
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
        _Run(slice(first, end), slice(bisect.bisect_left(starts, first), bisect.bisect_left(starts, end)))
        for first, end in spans
    ]


def _write_content(
    directories: Directories, source: Source, index: Index, runs: Sequence[_Run], wanted: set[int], on_file: OnFile
) -> None:
    frames: list[Frame] = [frame for run in runs for frame in index.frames[run.frames]]
    plain = plain_frames(source.name, frames, source.frames(frames))
    try:
        for run in runs:
            records = index.files[run.records]
            content = itertools.islice(plain, run.frames.stop - run.frames.start)
            positions = itertools.count(run.records.start)
            for position, (record, blocks) in zip(positions, read_archive(source.name, content, records), strict=False):
                if position in wanted:
                    on_file(record.path)
                    _write_file(*directories.parent(record.path), record, blocks)
    finally:
        plain.close()


def _make_hard_links(root: int, directories: Directories, records: Sequence[FileRecord], on_file: OnFile) -> None:
    first = Directories(root)
    try:
        for record in records:
            if record.type == HARDLINK:
                source, source_name = first.parent(record.link)
                parent, name = directories.parent(record.path)
                os.link(source_name, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
                on_file(record.path)
    finally:
        first.close()


def _write_file(parent: int, name: str, record: FileRecord, blocks: Iterator[memoryview]) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    digest, size = hashlib.sha256(), 0
    with open(os.open(name, flags, 0o600, dir_fd=parent), "wb", buffering=0) as file:
        for block in blocks:
            size += len(block)
            if size > record.size:
                break
            digest.update(block)
            file.write(block)
        if size != record.size or digest.hexdigest() != record.sha256:
            raise AuditError(f"{record.path!r} is not what the index says", AGAIN)
        apply_metadata(file.fileno(), record)


def _finish(root: int, directories: Directories, record: FileRecord) -> None:
    if record.path == ".":
        apply_metadata(root, record)
        return
    parent, name = directories.parent(record.path)
    directory = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        apply_metadata(directory, record)
    finally:
        os.close(directory)


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
