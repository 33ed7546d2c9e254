"""Unpacking a root file system strictly below one directory, exactly as its index says.

Every directory is opened without following links, so nothing is ever written outside the destination. A file that a
`Reuse` has already costs neither reading nor writing: only the frames of the others are asked for.
"""

from __future__ import annotations

import abc
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import zstandard

from builder.archive.content import FrameRun, OnFile, apply_metadata, runs_of, write_content
from builder.archive.directories import Directories
from builder.archive.helper import divide, helping
from builder.archive.members import AGAIN, decompress
from builder.errors import AuditError, InputError
from builder.model.artifacts.index import (
    DIRECTORY,
    FILE,
    HARDLINK,
    MOST_INDEX_VALUES,
    SYMLINK,
    FileRecord,
    Index,
    file_rows,
)
from builder.model.artifacts.manifest import INDEX
from builder.output.given import open_given
from builder.output.source import DirectorySource, Source
from builder.system.files import sha256_of_first
from builder.system.guarded.held import HeldDirectory
from builder.system.inheritance import disinherit

_LARGEST_INDEX = 256 << 20
# values of a file's row and more, of compressed bytes for a frame's digest: what an index of so many files can have
_VALUES_OF_FILE, _BYTES_OF_VALUE, _FEW_VALUES = 24, 4, 1000
_T = TypeVar("_T")


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


def index_in(version: HeldDirectory) -> Index:
    """The index of a version directory; AuditError when it is damaged, or no plain file."""
    with open_given(version, INDEX) as file:
        return _parsed(file, str(version.path / INDEX), Index.from_json, None)


def read_index(path: Path, check: Callable[[str], None] | None = None, entries: int | None = None) -> Index:
    """Reads index.json.zst; AuditError when it is damaged.

    entries: of the root file system, as a manifest says; no memory is taken for more
    check: gets the file's SHA-256 before anything of it is read, and raises where that is another than it should be;
        the file is opened once, so what was checked is what is read
    """
    with path.open("rb") as file:
        return _parsed(file, str(path), Index.from_json, check, entries)


def read_file_rows(path: Path) -> dict[str, list[Any]]:
    """Of an index that was checked when its version came in, what `file_rows` gives; AuditError when it is damaged."""
    with path.open("rb") as file:
        return _parsed(file, str(path), file_rows, None)


def _parsed(
    file: BinaryIO,
    path: str,
    parse: Callable[[bytes, int], _T],
    check: Callable[[str], None] | None,
    entries: int | None = None,
) -> _T:
    size = os.fstat(file.fileno()).st_size
    try:
        if check is not None:
            check(sha256_of_first(file, size))
            file.seek(0)
        data = decompress(file, _LARGEST_INDEX, size)
    except zstandard.ZstdError as error:
        raise AuditError(f"{path}: damaged: {error}", AGAIN) from error
    if len(data) > _LARGEST_INDEX:
        raise AuditError(
            f"{path}: larger than {_LARGEST_INDEX >> 20} MiB", "this is not an index of a root file system"
        )
    try:
        if entries is None:
            return parse(data, MOST_INDEX_VALUES)
        values = _FEW_VALUES + _VALUES_OF_FILE * entries + size // _BYTES_OF_VALUE
        return parse(data, min(values, MOST_INDEX_VALUES))
    except ValueError as error:
        raise AuditError(f"{path}: {error}", AGAIN) from error


def unpack(archive: Path, index: Path, destination: Path, on_file: OnFile = lambda name: None) -> None:
    """Unpacks a rootfs archive into `destination` (an empty directory), with owners, modes, times and xattrs.

    Raises AuditError when the archive is not exactly what the index says, InputError for a directory that is not empty.
    """
    with HeldDirectory.at(archive.parent.resolve()) as held, HeldDirectory.at(destination.resolve()) as root:
        unpack_source(DirectorySource(held, archive.name), read_index(index), root, on_file=on_file)


def unpack_version(version: HeldDirectory, destination: Path, on_file: OnFile = lambda name: None) -> None:
    """The same from a version directory, whoever made it."""
    with HeldDirectory.at(destination.resolve()) as root:
        unpack_source(DirectorySource(version), index_in(version), root, on_file=on_file)


def unpack_source(
    source: Source, index: Index, root: HeldDirectory, reuse: Reuse | None = None, on_file: OnFile = lambda name: None
) -> Unpacked:
    """As `unpack`, from any source, and without reading the files that `reuse` has.

    With `reuse` only the frames that hold other files are read, and checked.
    """
    if root.names():
        raise InputError(f"{root.path} is not empty", "nothing is ever unpacked over something else")
    disinherit(root.handle)
    directories = Directories(root.handle)
    try:
        wanted = _make_without_content(directories, index.files, reuse, on_file)
        runs = runs_of(index, None if reuse is None else wanted)
        _write_content(directories, source, index, root, runs, set(wanted), on_file)
        _make_hard_links(root.handle, directories, index.files, on_file)
        # from the bottom up: writing into a directory changes its time, and its mode may forbid it
        for record in reversed(index.files):
            if record.type == DIRECTORY:
                _finish(root.handle, directories, record)
    finally:
        directories.close()
    files = sum(record.type == FILE for record in index.files)
    return Unpacked(
        files - len(wanted),
        len(wanted),
        sum(index.files[position].size for position in wanted),
        sum(frame.size for run in runs for frame in index.frames[run.frames]),
    )


def _write_content(
    directories: Directories,
    source: Source,
    index: Index,
    root: HeldDirectory,
    runs: Sequence[FrameRun],
    wanted: set[int],
    on_file: OnFile,
) -> None:
    """With a helper where there is much to write, from an archive that both can read."""
    mine, others = divide(index, runs)
    if not others or not isinstance(source, DirectorySource):
        write_content(directories, source, index, runs, wanted, on_file)
        return
    with helping(source, index, root, others, wanted, on_file) as helper:

        def on_mine(path: str) -> None:
            helper.poll()
            on_file(path)

        write_content(directories, source, index, mine, wanted, on_mine)
        helper.finish()


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
