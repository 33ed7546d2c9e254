"""File handles, by which an NFS server names files: name_to_handle_at(2)."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_AT_FDCWD = -100
_MOST = 128  # MAX_HANDLE_SZ of fcntl.h


def has_file_handles(path: Path) -> bool:
    """Whether the file system of `path` has handles for its files, as overlayfs and procfs do not; OSError."""
    return file_handle(path) is not None


def file_handle(path: Path) -> tuple[int, bytes] | None:
    """The type and the bytes of a file's handle, a link's own; None where its file system has none; OSError."""
    handle = ctypes.create_string_buffer(struct.pack("=Ii", _MOST, 0), 8 + _MOST)
    mount = ctypes.c_int()
    if _libc.name_to_handle_at(_AT_FDCWD, os.fsencode(path), handle, ctypes.byref(mount), 0) == 0:
        count, kind = struct.unpack_from("=Ii", handle)
        return kind, handle.raw[8 : 8 + count]
    number = ctypes.get_errno()
    if number == errno.EOPNOTSUPP:
        return None
    raise OSError(number, os.strerror(number), str(path))
