"""Removing what others may write to meanwhile: no link is followed, no mount point crossed, and it ends."""

from __future__ import annotations

import errno
import os
import secrets
import shlex
import stat
from pathlib import Path

from builder.errors import HostError
from builder.system.files import mounts_below, names_in
from builder.system.guarded.openat2 import BENEATH, NO_SYMLINKS, NO_XDEV, openat2

_DEEPEST = 100  # levels that are entered to remove what is in them
# each pass removes all that is there when it begins; one is enough, unless it is deeper or somebody adds to it
_MOST_PASSES = 10_000
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
# it was exchanged for something else, or filled, between a look and a call
_MEANWHILE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENOTEMPTY, errno.EEXIST)


def remove_tree(path: Path) -> None:
    """Removes a directory and all in it; HostError, and nothing removed, when something is mounted below it."""
    parent = os.open(path.parent, _DIRECTORY | os.O_CLOEXEC)
    try:
        remove_at(parent, path.name, path)
    finally:
        os.close(parent)


def remove_at(directory: int, name: str, shown: Path) -> None:
    """Removes a name in an open directory with all below it; `shown` is what messages call it.

    HostError, and nothing removed, when something is mounted below it; OSError where something cannot be removed, or
    others add to it faster than it goes.
    """
    try:
        if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            _remove_directory(directory, name, shown)
        else:
            os.unlink(name, dir_fd=directory)
    except OSError as error:
        raise OSError(error.errno, f"cannot be removed: {error.strerror}", str(shown)) from error


def _remove_directory(directory: int, name: str, shown: Path) -> None:
    handle = os.open(name, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        mounted = mounts_below(Path(os.readlink(f"/proc/self/fd/{handle}")))
        if mounted:
            message = f"{shown} is not removed: {', '.join(mounted)} is mounted in it"
            raise HostError(message, f"umount {shlex.quote(mounted[-1])} first")
        for _ in range(_MOST_PASSES):
            if not names_in(handle):
                break
            _empty(handle, handle, 0)
        else:
            raise OSError(errno.EBUSY, "others write to it while it is removed", name)
    finally:
        os.close(handle)
    os.rmdir(name, dir_fd=directory)


def _empty(directory: int, top: int, depth: int) -> None:
    """Removes what is in an open directory; what lies too deep to be entered comes up to `top`, for the next pass.

    What cannot be removed keeps nothing else from it; the first such error is raised at the end.
    """
    failed: OSError | None = None
    for name in names_in(directory):
        try:
            _remove_name(name, directory, top, depth)
        except OSError as error:
            if error.errno not in _MEANWHILE:
                failed = failed or error
    if failed is not None:
        raise failed


def _remove_name(name: str, directory: int, top: int, depth: int) -> None:
    if not stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
        os.unlink(name, dir_fd=directory)
    elif depth == _DEEPEST:
        os.rename(name, f".tmp-{secrets.token_hex(16)}", src_dir_fd=directory, dst_dir_fd=top)
    else:
        below = openat2(directory, name, _DIRECTORY, BENEATH | NO_SYMLINKS | NO_XDEV)
        try:
            _empty(below, top, depth + 1)
        finally:
            os.close(below)
        os.rmdir(name, dir_fd=directory)
