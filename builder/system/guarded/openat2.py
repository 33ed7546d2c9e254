"""openat2(2), Linux >= 5.6: opening a path that leads only where it may, whatever is renamed meanwhile."""

from __future__ import annotations

import ctypes
import errno
import os

# linux/openat2.h
NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, BENEATH, IN_ROOT = 0x01, 0x02, 0x04, 0x08, 0x10
AT_FDCWD = -100
_SYS_OPENAT2 = 437  # the same number on every architecture
_MOST_TRIES = 10_000
_libc = ctypes.CDLL(None, use_errno=True)


def openat2(directory: int, path: str, flags: int, resolve: int) -> int:
    """The descriptor of `path` as seen from an open directory; OSError, which names the path, as open(2).

    `resolve` says what is refused: a link anywhere (ELOOP), another mount or what lies above (EXDEV).
    """
    how = (ctypes.c_uint64 * 3)(flags | os.O_CLOEXEC, 0, resolve)
    for _ in range(_MOST_TRIES):
        fd: int = _libc.syscall(_SYS_OPENAT2, directory, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
        number = ctypes.get_errno()
        if fd >= 0:
            return fd
        # something, anywhere on this machine, was renamed or mounted while `..` was resolved
        if number != errno.EAGAIN:
            break
    raise OSError(number, os.strerror(number), path)
