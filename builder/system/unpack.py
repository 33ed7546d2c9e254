"""Reading our archives: frame by frame, each checked before it is used, written strictly below one directory.

The index says what the archive must hold; a member that differs from its record, is missing or comes too much is an
error. Every directory is opened without following links, so nothing is ever written outside the destination.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import libarchive
import zstandard

from builder.errors import AuditError
from builder.model.index import DIRECTORY, FILE, HARDLINK, SYMLINK, FileRecord, Frame, Index

_LARGEST_INDEX = 256 << 20


def read_index(path: Path) -> Index:
    """Reads index.json.zst; AuditError when it is damaged."""
    try:
        with (
            path.open("rb") as file,
            zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as reader,
        ):
            data = reader.read(_LARGEST_INDEX + 1)
    except zstandard.ZstdError as error:
        raise AuditError(f"{path}: damaged: {error}", "build or fetch the version again") from error
    if len(data) > _LARGEST_INDEX:
        raise AuditError(f"{path}: larger than {_LARGEST_INDEX >> 20} MiB", "this is no index of a root file system")
    try:
        return Index.from_json(data)
    except ValueError as error:
        raise AuditError(f"{path}: {error}", "build or fetch the version again") from error


def unpack(archive: Path, index: Path, destination: Path, on_file: Callable[[str], None] = lambda name: None) -> None:
    """Unpacks a rootfs archive into `destination` (an empty directory), with owners, modes, times and xattrs.

    Raises AuditError when the archive is not exactly what the index says.
    """
    table = read_index(index)
    with archive.open("rb") as file:
        _write_members(FrameReader(file, table.frames, str(archive)), table, destination, on_file)


def read_members(archive: Path) -> dict[str, bytes]:
    """The files of a small archive (a bundle) by name."""
    with (
        archive.open("rb") as file,
        zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as reader,
    ):
        plain = reader.read()
    with libarchive.memory_reader(plain, "tar") as members:
        return {member.pathname: b"".join(member.get_blocks()) for member in members if member.isfile}


class FrameReader(io.RawIOBase):
    """The plain tar of an archive as a stream; every frame is checked against the table before it is decompressed."""

    def __init__(self, file: BinaryIO, frames: Any, name: str) -> None:  # noqa: ANN401 - a sequence of Frame
        super().__init__()
        self._file = file
        self._frames: Iterator[Frame] = iter(frames)
        self._name = name
        self._plain = b""
        self._position = 0
        self._decompressor = zstandard.ZstdDecompressor()

    def readable(self) -> bool:
        """Always true."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - whatever io hands us
        """Fills `buffer` from the current frame; 0 at the end."""
        if self._position == len(self._plain):
            frame = next(self._frames, None)
            if frame is None:
                return 0
            self._plain, self._position = self._next(frame), 0
        count = min(len(buffer), len(self._plain) - self._position)
        buffer[:count] = self._plain[self._position : self._position + count]
        self._position += count
        return count

    def _next(self, frame: Frame) -> bytes:
        data = self._file.read(frame.size)
        if len(data) != frame.size or hashlib.sha256(data).hexdigest() != frame.sha256:
            raise AuditError(f"{self._name}: damaged at byte {frame.offset}", "build or fetch the version again")
        try:
            plain = self._decompressor.decompress(data, max_output_size=frame.plain_size)
        except zstandard.ZstdError as error:
            raise AuditError(f"{self._name}: no zstd frame at byte {frame.offset}: {error}") from error
        if len(plain) != frame.plain_size:
            raise AuditError(f"{self._name}: the frame at byte {frame.offset} is not as long as the index says")
        return plain


def _write_members(stream: FrameReader, index: Index, destination: Path, on_file: Callable[[str], None]) -> None:
    records = iter(index.files)
    directories: list[FileRecord] = []
    root = os.open(destination, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with libarchive.stream_reader(io.BufferedReader(stream, 1 << 20), "tar") as members:
            for member in members:
                record = next(records, None)
                if record is None or os.path.normpath(member.pathname) != record.path:
                    raise AuditError(
                        f"the archive holds {member.pathname!r} where the index says {record and record.path!r}"
                    )
                on_file(record.path)
                _write_member(root, record, member)
                if record.type == DIRECTORY:
                    directories.append(record)
        missing = next(records, None)
        if missing is not None:
            raise AuditError(f"the archive ends before {missing.path!r}, which the index says it holds")
        # from the bottom up: writing into a directory changes its time, and its mode may forbid it
        for record in reversed(directories):
            _finish(root, record)
    finally:
        os.close(root)


def _write_member(root: int, record: FileRecord, member: Any) -> None:  # noqa: ANN401 - libarchive has no types
    if record.path == ".":
        return
    parent, name = _parent(root, record.path)
    try:
        if record.type == DIRECTORY:
            os.mkdir(name, 0o700, dir_fd=parent)
        elif record.type == FILE:
            _write_file(parent, name, record, member)
        elif record.type == SYMLINK:
            os.symlink(record.link, name, dir_fd=parent)
            os.chown(name, record.uid, record.gid, dir_fd=parent, follow_symlinks=False)
            os.utime(name, (record.mtime, record.mtime), dir_fd=parent, follow_symlinks=False)
        elif record.type == HARDLINK:
            source, source_name = _parent(root, record.link)
            try:
                os.link(source_name, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
            finally:
                os.close(source)
        else:
            raise AuditError(f"{record.path!r} is of the unknown type {record.type!r}")
    finally:
        os.close(parent)


def _write_file(parent: int, name: str, record: FileRecord, member: Any) -> None:  # noqa: ANN401
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    digest, size = hashlib.sha256(), 0
    with open(os.open(name, flags, 0o600, dir_fd=parent), "wb", buffering=0) as file:
        for block in member.get_blocks():
            size += len(block)
            if size > record.size:
                break
            digest.update(block)
            file.write(block)
        if size != record.size or digest.hexdigest() != record.sha256:
            raise AuditError(f"{record.path!r} is not what the index says", "build or fetch the version again")
        _apply(file.fileno(), record)


def _finish(root: int, record: FileRecord) -> None:
    if record.path == ".":
        _apply(root, record)
        return
    parent, name = _parent(root, record.path)
    try:
        directory = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    finally:
        os.close(parent)
    try:
        _apply(directory, record)
    finally:
        os.close(directory)


def _apply(handle: int, record: FileRecord) -> None:
    # chown clears setuid bits and capabilities, so it comes first
    os.fchown(handle, record.uid, record.gid)
    os.fchmod(handle, record.mode)
    for name, value in record.xattrs.items():
        os.setxattr(handle, name, bytes.fromhex(value))
    os.utime(handle, (record.mtime, record.mtime))


def _parent(root: int, path: str) -> tuple[int, str]:
    """The directory that `path` lies in, opened step by step without following a link, and the last name."""
    *directories, name = path.split("/")
    if not name or any(part in ("", ".", "..") for part in (*directories, name)):
        raise AuditError(f"{path!r} is no path below the root")
    handle = os.dup(root)
    for directory in directories:
        try:
            inner = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=handle)
        except OSError as error:
            raise AuditError(f"{path!r} would be written through something that is no directory") from error
        finally:
            os.close(handle)
        handle = inner
    return handle, name
