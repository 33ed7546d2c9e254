"""What a directory hands down to what is made in it: taken away from ours, and looked for where it cannot be.

Storage stays as whoever owns the disk wants it: compression, copy on write and projects are no part of an image.
Sources: acl(5), inode(7), ext4(5) for casefold, mount(8) for grpid, FS_IOC_SETFLAGS of linux/fs.h.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct
from pathlib import Path

from builder.errors import HostError
from builder.model.attributes import ACLS, is_image_attribute
from builder.system.guarded.removal import remove_tree

_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602
_CASEFOLD = 0x40000000
_ABSENT = (errno.ENODATA, errno.EOPNOTSUPP)
_PROBE = ".tmp-probe"
_MODE = 0o700  # which no umask changes
_OTHER = 1  # a group of every image that no process of ours has


def drop_acls(handle: int) -> None:
    """Leaves an open file or directory its mode, and no further list of who may do what."""
    for name in ACLS:
        try:
            os.removexattr(handle, name)
        except OSError as error:
            if error.errno not in _ABSENT:
                raise


def disinherit(directory: int) -> None:
    """Lets an open, empty directory of this process's hand down nothing that is seen in an image."""
    drop_acls(directory)
    mode = stat.S_IMODE(os.fstat(directory).st_mode)
    if mode & stat.S_ISGID:
        os.fchmod(directory, mode & ~stat.S_ISGID)
    with contextlib.suppress(OSError):  # where it has to be done and cannot be, require_plain says so
        _clear_casefold(directory)


def require_plain(directory: Path) -> None:
    """HostError where what is made in a directory of ours is not what was asked for; in the image's user namespace.

    Whatever the reason is, known here or not: a new file and a new directory are looked at.
    """
    place = directory / _PROBE
    place.mkdir(_MODE)
    try:
        os.chown(place, -1, _OTHER)
        file, below = place / "file", place / "directory"
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE))
        below.mkdir(_MODE)
        fault = _fault(file) or _fault(below)
        if fault is None and os.path.lexists(place / "FILE"):
            fault = "names that differ in case only", "chattr -F on an empty one"
    finally:
        remove_tree(place)
    if fault is not None:
        message = f"files in {directory} get {fault[0]}, which would be taken for the image's"
        raise HostError(message, f"{fault[1]}, or choose another directory with --output")


def _fault(path: Path) -> tuple[str, str] | None:
    """What a new file has that nobody gave it, and what to do."""
    info = path.lstat()
    if info.st_gid != os.getegid():
        return "the group of their directory", "mount its file system without grpid (bsdgroups)"
    if info.st_uid != os.geteuid():
        return "another owner", "its file system changes owners: mount it without such options"
    if stat.S_IMODE(info.st_mode) != _MODE:
        return f"the mode {stat.S_IMODE(info.st_mode):04o}", "remove the access control list that it hands down"
    found = [name for name in os.listxattr(path) if is_image_attribute(name)]
    if found:
        return f"the attribute {found[0]}", "remove it from the directory above"
    return None


def _clear_casefold(directory: int) -> None:
    buffer = bytearray(8)
    fcntl.ioctl(directory, _GET_FLAGS, buffer)
    (flags,) = struct.unpack_from("i", buffer)
    if flags & _CASEFOLD:
        fcntl.ioctl(directory, _SET_FLAGS, struct.pack("i4x", flags & ~_CASEFOLD))
