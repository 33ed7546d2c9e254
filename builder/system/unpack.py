"""Unpacking a root file system strictly below one directory, exactly as its index says.

Every directory is opened without following links, so nothing is ever written outside the destination.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import zstandard

from builder.errors import AuditError, HostError, InputError
from builder.model.index import DIRECTORY, FILE, SYMLINK, FileRecord, Index
from builder.system.members import AGAIN, read_archive

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
        raise AuditError(f"{path}: damaged: {error}", AGAIN) from error
    if len(data) > _LARGEST_INDEX:
        raise AuditError(f"{path}: larger than {_LARGEST_INDEX >> 20} MiB", "this is no index of a root file system")
    try:
        return Index.from_json(data)
    except ValueError as error:
        raise AuditError(f"{path}: {error}", AGAIN) from error


def unpack(archive: Path, index: Path, destination: Path, on_file: Callable[[str], None] = lambda name: None) -> None:
    """Unpacks a rootfs archive into `destination` (an empty directory), with owners, modes, times and xattrs.

    Raises AuditError when the archive is not exactly what the index says, InputError for a directory that is not empty.
    """
    table = read_index(index)
    if any(destination.iterdir()):
        raise InputError(f"{destination} is not empty", "nothing is ever unpacked over something else")
    directories: list[FileRecord] = []
    root = os.open(destination, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for record, blocks in read_archive(archive, table):
            on_file(record.path)
            _write_member(root, record, blocks)
            if record.type == DIRECTORY:
                directories.append(record)
        # from the bottom up: writing into a directory changes its time, and its mode may forbid it
        for record in reversed(directories):
            _finish(root, record)
    finally:
        os.close(root)


def _write_member(root: int, record: FileRecord, blocks: Iterator[bytes]) -> None:
    if record.path == ".":
        return
    parent, name = _parent(root, record.path)
    try:
        if record.type == DIRECTORY:
            os.mkdir(name, 0o700, dir_fd=parent)
        elif record.type == FILE:
            _write_file(parent, name, record, blocks)
        elif record.type == SYMLINK:
            os.symlink(record.link, name, dir_fd=parent)
            os.chown(name, record.uid, record.gid, dir_fd=parent, follow_symlinks=False)
            os.utime(name, (record.mtime, record.mtime), dir_fd=parent, follow_symlinks=False)
        else:
            source, source_name = _parent(root, record.link)
            try:
                os.link(source_name, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
            finally:
                os.close(source)
    finally:
        os.close(parent)


def _write_file(parent: int, name: str, record: FileRecord, blocks: Iterator[bytes]) -> None:
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
        try:
            os.setxattr(handle, name, bytes.fromhex(value))
        except OSError as error:
            message = f"{record.path!r} cannot have the attribute {name} here: {error.strerror}"
            raise HostError(message, "unpack onto a file system with extended attributes") from error
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
