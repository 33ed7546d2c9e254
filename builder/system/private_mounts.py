"""A mount namespace for one thread of this process: what is mounted in it nobody else sees, and nothing of it is left.

What the thread starts meanwhile, other threads and processes, is in it too, and so keeps what is mounted for as long as
it lives. A SIGKILL of all of them leaves nothing. Sources: unshare(2), setns(2), mount_namespaces(7).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

from builder.errors import HostError
from builder.system.sandbox.init import MNT_DETACH, MS_PRIVATE, MS_REC, mount

_CLONE_FS, _CLONE_NEWNS = 0x200, 0x20000
_OWN = "/proc/thread-self/ns/mnt"  # /proc/self is the first thread's
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def private_mounts() -> Iterator[None]:
    """Gives the calling thread mounts of its own, and at the end those of before, with root and working directory.

    HostError where the host forbids it. Blocks of one thread end in the reverse order of their beginning.
    """
    with contextlib.ExitStack() as stack:
        before, root, here = (
            os.open(path, flags | os.O_CLOEXEC)
            for path, flags in ((_OWN, os.O_RDONLY), ("/", os.O_PATH), (".", os.O_PATH))
        )
        for handle in (before, root, here):
            stack.callback(os.close, handle)
        try:
            _check(_libc.unshare(_CLONE_NEWNS), "unshare(2) of the mount namespace")
            stack.callback(_go_back, before, root, here)
            mount("none", "/", flags=MS_REC | MS_PRIVATE)
        except OSError as error:
            raise HostError(
                "mounts of our own cannot be made here", "`diskless doctor` says why", (str(error),)
            ) from error
        yield


def _go_back(mounts: int, root: int, here: int) -> None:
    # threads that were started meanwhile have their directories in common with this one, which setns(2) refuses
    _check(_libc.unshare(_CLONE_FS), "unshare(2) of the root directory")
    try:
        _check(_libc.setns(mounts, _CLONE_NEWNS), "setns(2)")
    except PermissionError:
        # Root of a user namespace left the mounts of another one for good, and now has a copy of them: all is as it was
        # but for what was mounted meanwhile, which is detached by whoever mounted it.
        return
    # it leads to the top of all mounts, which is outside of a chroot
    os.fchdir(root)
    os.chroot(".")
    os.fchdir(here)


def detach(directory: Path) -> None:
    """Takes a mount away, whoever may still use it."""
    _check(_libc.umount2(os.fsencode(directory), MNT_DETACH), f"umount2(2) of {directory}")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
