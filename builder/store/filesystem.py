"""What a store asks of its file system, tried out before anything is written to it."""

from __future__ import annotations

import ctypes
import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from builder.errors import HostError
from builder.system.files import (
    FULL,
    as_room_allows,
    filesystem_of,
    free_bytes,
    names_in,
    nearest_directory,
    sync_filesystem,
)
from builder.system.guarded.held import HeldDirectory

_PROBE = ".tmp-probe-"  # recovery removes it
_GOOD = "put the store on ext4, XFS or btrfs"
_libc = ctypes.CDLL(None, use_errno=True)
_AT_EMPTY_PATH = 0x1000
_HANDLE_BYTES = 128  # MAX_HANDLE_SZ, name_to_handle_at(2)
_CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")  # cap_net_raw+ep, capability.h
_BLOCK = 4096
_READINGS, _STEADY, _BETWEEN = 50, 5, 0.02  # at most a second, at least a tenth of one
_PRUNE = "free some space there, see `df -h` and `df -i`; `diskless prune --to DIR` removes old versions of a store"
# what an export of the whole gives to clients beside what lies in its directories: XFS's realtime bitmap is inode 129,
# generation 0, on every disk (seen by the attacks of the tests)
_INTERNAL_FILES = {"xfs": "XFS, whose internal files clients can open by a forged handle and damage it for all of them"}
SPARE = 64 << 20  # for what a file system keeps beside the files


def check_filesystem(directory: HeldDirectory) -> None:
    """HostError, by the file system's name, when something that a root directory needs does not work there."""
    probe = directory.make_temporary(_PROBE)
    try:
        for what, attempt in _PROBES.items():
            try:
                attempt(probe.handle)
            except OSError as error:
                if error.errno in (*FULL, errno.EIO, errno.EROFS):
                    raise
                kind = filesystem_of(Path(f"/proc/self/fd/{directory.handle}"))
                raise HostError(f"{directory.path} is on {kind}, which has no {what}", _GOOD) from error
    finally:
        directory.remove(probe.path.name)


def export_fault(directory: Path) -> str | None:
    """Why the file system of a directory is not to be exported; None where it may be."""
    return _INTERNAL_FILES.get(filesystem_of(directory))


def check_export(directory: Path) -> None:
    """HostError where a directory's file system is not to be exported."""
    fault = export_fault(directory)
    if fault is not None:
        raise HostError(f"{directory} is on {fault}", "give it ext4 or btrfs; the rest of the store may be on XFS")


def check_space(directory: HeldDirectory, needed_bytes: int, files: int) -> None:
    """HostError when `files` files of `needed_bytes` in all do not fit beside a margin."""
    wanted = needed_bytes + files * _BLOCK + SPARE
    _check_room(os.statvfs(directory.handle), directory.path, wanted, "this version", files)


def check_room(directory: Path, wanted: int, what: str, inodes: int = 0) -> None:
    """HostError when so many bytes or inodes, which `what` needs, are not free."""
    _check_room(os.statvfs(directory), directory, wanted, what, inodes)


def _check_room(info: os.statvfs_result, directory: Path, wanted: int, what: str, inodes: int) -> None:
    free = info.f_bavail * info.f_frsize
    if free < wanted:
        message = f"{directory} has {free // 10**6} MB free, {what} needs {-(-wanted // 10**6)} MB"
        raise HostError(message, _PRUNE)
    if info.f_files and info.f_favail < inodes:  # btrfs counts none
        raise HostError(f"{directory} has {info.f_favail} free inodes, {what} needs {inodes}", _PRUNE)


def no_room(error: OSError, directory: Path, needed_bytes: int, files: int) -> HostError:
    """For a version that met a full disk: what there is, and what the whole of it takes at most.

    directory: where its files come to; where the error names a path, that path's file system is looked at
    """
    if isinstance(error.filename, str) and error.filename.startswith("/"):
        directory = nearest_directory(Path(error.filename))
    info, wanted = os.statvfs(directory), needed_bytes + files * _BLOCK + SPARE
    inodes = f" and {info.f_favail} inodes" if info.f_files else ""
    return HostError(
        f"{error.filename or directory}: {error.strerror}: {free_bytes(directory) // 10**6} MB{inodes} are free, "
        f"this version needs up to {-(-wanted // 10**6)} MB and {files} inodes",
        _PRUNE,
    )


def settle(directory: Path) -> None:
    """Waits until what was removed is free: XFS does that in the background, others when their journal is written."""
    with as_room_allows():
        sync_filesystem(directory)
    before, same = None, 0
    for _ in range(_READINGS):
        info = os.statvfs(directory)
        same = same + 1 if before == (info.f_bfree, info.f_ffree) else 0
        if same == _STEADY:
            return
        before = (info.f_bfree, info.f_ffree)
        time.sleep(_BETWEEN)


def _hard_link(probe: int) -> None:
    with _file(probe, "one"):
        os.link("one", "two", src_dir_fd=probe, dst_dir_fd=probe, follow_symlinks=False)


def _symlink(probe: int) -> None:
    os.symlink("one", "link", dir_fd=probe)


def _owner(probe: int) -> None:
    with _file(probe, "owned") as file:
        os.fchown(file.fileno(), 1, 2)
        os.fchmod(file.fileno(), 0o4751)
        info = os.fstat(file.fileno())
    _require((info.st_uid, info.st_gid, info.st_mode & 0o7777) == (1, 2, 0o4751))


def _time(probe: int) -> None:
    with _file(probe, "dated") as file:
        os.utime(file.fileno(), (1_000_000_001, 1_000_000_001))
        _require(os.fstat(file.fileno()).st_mtime_ns == 1_000_000_001 * 10**9)


def _attributes(probe: int) -> None:
    with _file(probe, "capable") as file:
        os.setxattr(file.fileno(), "security.capability", _CAPABILITY)
        os.setxattr(file.fileno(), "user.diskless", b"x")


def _names(probe: int) -> None:
    for name in ("case", "CASE", "n" * 255, "back\\slash: *?\n\N{SNOWMAN}"):
        with _file(probe, name):
            pass
    _require({"case", "CASE"} <= set(names_in(probe)))


def _handles(probe: int) -> None:
    """name_to_handle_at(2): what an NFS server names a file by."""
    buffer = (ctypes.c_uint32 * (2 + _HANDLE_BYTES // 4))(_HANDLE_BYTES)
    mount = ctypes.c_int()
    if _libc.name_to_handle_at(probe, b"", ctypes.byref(buffer), ctypes.byref(mount), _AT_EMPTY_PATH) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


_PROBES: dict[str, Callable[[int], None]] = {
    "hard links": _hard_link,
    "symbolic links": _symlink,
    "owners and modes": _owner,
    "times of files": _time,
    "extended attributes": _attributes,
    "case and bytes in names as they are": _names,
    "file handles, so that NFS cannot export it": _handles,
}


def _file(directory: int, name: str) -> BinaryIO:
    """A new file, open, so that nothing is done to it by its name: who exchanges that would have it done elsewhere."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return open(os.open(name, flags, 0o600, dir_fd=directory), "wb")


def _require(holds: bool) -> None:
    if not holds:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
