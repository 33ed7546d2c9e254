"""Writing a tree as a deterministic pax tar in zstd frames, entry by entry through libarchive.

libarchive's own walk is unsorted and loses hard links, so the walk and the inode map are ours; the format is its.
"""

from __future__ import annotations

import ctypes
import hashlib
import io
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import libarchive
import zstandard
from libarchive import ffi

from builder.archive.frames import FrameWriter
from builder.archive.members import set_names_to_utf8
from builder.errors import AuditError
from builder.model.artifacts.index import DIRECTORY, FILE, HARDLINK, SYMLINK, FileRecord, Frame, Index
from builder.model.attributes import is_image_attribute
from builder.system.files import write_atomic

_PIECE = 1 << 20
_BLOCK = 512
_INDEX_LEVEL = 10
_HEADER_ROOM = 4 * _BLOCK  # ustar header, and a pax header with a short record
_xattr_add = ffi.ffi(
    "entry_xattr_add_entry", [ffi.c_archive_entry_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t], None
)
_set_utf8 = {
    name: ffi.ffi(f"entry_set_{name}_utf8", [ffi.c_archive_entry_p, ctypes.c_char_p], None)
    for name in ("pathname", "symlink", "hardlink")
}
Opener = Callable[[], BinaryIO]


@dataclass(frozen=True)
class Member:
    """What goes into the archive: a record without digest and frame, and where the content comes from."""

    record: FileRecord
    open: Opener | None = None


def scan_tree(root: Path, epoch: int) -> Iterator[Member]:
    """The members of a tree, sorted by the bytes of their path; times after `epoch` (seconds) become it.

    Raises AuditError for a name that is not UTF-8 and for devices, sockets and pipes.
    """
    first: dict[tuple[int, int], str] = {}
    for path in _walk(root):
        full = os.path.join(os.fsencode(root), path)
        info = os.lstat(full)
        name = _decode(path)
        kind, link = _kind(info, name), ""
        if info.st_nlink > 1 and kind != DIRECTORY:
            link = first.setdefault((info.st_dev, info.st_ino), name)
            kind, link = (kind, "") if link == name else (HARDLINK, link)
        if kind == SYMLINK:
            link = _decode(os.readlink(full))
        size = info.st_size if kind == FILE else 0
        xattrs = {} if kind == HARDLINK else _xattrs(full)
        mtime = min(int(info.st_mtime), epoch)
        record = FileRecord(
            name, kind, stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, mtime, size, "", link, xattrs, 0
        )
        yield Member(record, _opener(full) if kind == FILE else None)


def memory_members(files: Mapping[str, bytes], epoch: int) -> Iterator[Member]:
    """Members from memory, 0644 root, with the directories that they need."""
    names = sorted(files)
    directories = {"."} | {str(parent) for name in names for parent in Path(name).parents}
    for name in sorted({*names, *directories}, key=str.encode):
        if name in directories:
            yield Member(FileRecord(name, DIRECTORY, 0o755, 0, 0, epoch, 0, "", "", {}, 0))
        else:
            yield Member(
                FileRecord(name, FILE, 0o644, 0, 0, epoch, len(files[name]), "", "", {}, 0), _memory_opener(files[name])
            )


class _Sink:
    """Hands libarchive's bytes to the frames and keeps the exception that must not pass through C."""

    def __init__(self, frames: FrameWriter) -> None:
        self._frames = frames
        self.error: Exception | None = None

    def write(self, data: ctypes.Array[ctypes.c_char]) -> int:
        """Called by libarchive, whose buffer is valid only now."""
        try:
            return self._frames.write(data.raw)
        except Exception as error:
            self.error = error
            return -1


def write_archive(members: Iterator[Member], output: Path, on_file: Callable[[str], None] = lambda name: None) -> Index:
    """Writes the members to `output` and returns the index; the same members give the same bytes.

    Raises AuditError when a file changes while it is read.
    """
    set_names_to_utf8()
    records: list[FileRecord] = []
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(output, flags, 0o640), "wb") as file:
        frames = FrameWriter(file)
        sink = _Sink(frames)
        try:
            with libarchive.custom_writer(
                sink.write, "pax_restricted", block_size=0, options="xattrheader=SCHILY"
            ) as archive:
                for member in members:
                    on_file(member.record.path)
                    records.append(_write_member(archive._pointer, frames, member))
                frames.begin(b"", 2 * _BLOCK)
            table: list[Frame] = frames.close()
        except BaseException as error:
            frames.abort()
            raise (sink.error or error) from None
        file.flush()
        os.fsync(file.fileno())
    return Index(table, records)


def write_index(index: Index, path: Path) -> None:
    """Writes index.json.zst."""
    compressor = zstandard.ZstdCompressor(level=_INDEX_LEVEL, write_checksum=True, write_content_size=True)
    write_atomic(path, compressor.compress(index.to_json()))


def _write_member(archive: ctypes.c_void_p, frames: FrameWriter, member: Member) -> FileRecord:
    record = member.record
    name = record.path.encode()
    room = (
        _HEADER_ROOM
        + 2 * len(name)
        + 2 * len(record.link.encode())
        + sum(len(key) + len(value) for key, value in record.xattrs.items())
    )
    frames.begin(name, room + record.size + _BLOCK)
    number = frames.number
    entry = ffi.entry_new()
    try:
        _fill(entry, record)
        ffi.write_header(archive, entry)
        digest = _write_content(archive, member) if member.open is not None else ""
        ffi.write_finish_entry(archive)
    finally:
        ffi.entry_free(entry)
    return FileRecord(**{**vars(record), "sha256": digest, "frame": number})


def _fill(entry: ctypes.c_void_p, record: FileRecord) -> None:
    path = record.path.encode()
    _set_utf8["pathname"](entry, path + b"/" if record.type == DIRECTORY else path)
    kinds = {DIRECTORY: stat.S_IFDIR, FILE: stat.S_IFREG, SYMLINK: stat.S_IFLNK, HARDLINK: stat.S_IFREG}
    ffi.entry_set_filetype(entry, kinds[record.type])
    ffi.entry_set_perm(entry, record.mode)
    ffi.entry_set_uid(entry, record.uid)
    ffi.entry_set_gid(entry, record.gid)
    ffi.entry_set_mtime(entry, record.mtime, 0)
    ffi.entry_set_size(entry, record.size)
    if record.type == SYMLINK:
        _set_utf8["symlink"](entry, record.link.encode())
    elif record.type == HARDLINK:
        _set_utf8["hardlink"](entry, record.link.encode())
    for key, value in sorted(record.xattrs.items()):
        data = bytes.fromhex(value)
        _xattr_add(entry, key.encode(), data, len(data))


def _write_content(archive: ctypes.c_void_p, member: Member) -> str:
    assert member.open is not None
    digest, left = hashlib.sha256(), member.record.size
    with member.open() as file:
        while piece := file.read(_PIECE):
            left -= len(piece)
            if left < 0:
                break
            digest.update(piece)
            ffi.write_data(archive, piece, len(piece))
    if left != 0:
        raise AuditError(
            f"/{member.record.path} changed while it was packed", "nothing may write to the tree during a build"
        )
    return digest.hexdigest()


def _walk(root: Path) -> list[bytes]:
    """Paths of everything below `root`, and "." for itself, sorted by bytes; bytes, whatever the locale."""
    found = [b"."]
    top = os.fsencode(root)
    pending = [b""]
    while pending:
        directory = pending.pop()
        with os.scandir(os.path.join(top, directory) if directory else top) as entries:
            for entry in entries:
                path = directory + b"/" + entry.name if directory else entry.name
                found.append(path)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(path)
    return sorted(found)


def _decode(path: bytes) -> str:
    try:
        return path.decode("utf-8")
    except UnicodeDecodeError as error:
        raise AuditError(
            f"the name {path!r} is not UTF-8, so it has no portable form in a tar archive",
            "rename the file in the package or in `files`",
        ) from error


def _kind(info: os.stat_result, name: str) -> str:
    for test, kind in ((stat.S_ISDIR, DIRECTORY), (stat.S_ISREG, FILE), (stat.S_ISLNK, SYMLINK)):
        if test(info.st_mode):
            return kind
    raise AuditError(f"/{name} is a device, socket or pipe", "an image holds none: /dev is made at boot")


def _xattrs(path: bytes) -> dict[str, str]:
    names = sorted(os.listxattr(path, follow_symlinks=False))
    kept = filter(is_image_attribute, names)
    return {name: os.getxattr(path, name, follow_symlinks=False).hex() for name in kept}


def _opener(path: bytes) -> Opener:
    def open_file() -> BinaryIO:
        return open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb", buffering=0)

    return open_file


def _memory_opener(content: bytes) -> Opener:
    return lambda: io.BytesIO(content)
