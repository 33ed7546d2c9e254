"""Locks that only their owner can hold: nobody else can open them, and so nobody else can make a command wait.

flock(2) takes no more than a descriptor, whatever it was opened for, so the mode of the file is the lock's own lock.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import math
import os
import re
import shlex
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from builder.errors import HostError
from builder.system.guarded.owners import others_write, trusted_users, user_name
from builder.system.guarded.private import Tell

_PAUSE = 0.2  # seconds between two attempts
_WORDS = 30  # seconds between two words
# a line of /proc/locks, proc(5): FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE
_HELD = re.compile(r"FLOCK +\w+ +\w+ +(\d+) ([0-9a-f]+):([0-9a-f]+):(\d+) ")


@contextlib.contextmanager
def locked(path: Path, what: str, tell: Tell, longest: float = math.inf) -> Iterator[None]:
    """Holds the lock in the file `path`, which is made where it is missing; waits as long as another process has it.

    what: why it is waited for, in the words `waiting: WHAT (process 12, diskless)`, which come again while it lasts

    HostError where others could hold it too, and after the `longest` wait, seconds.
    """
    handle = _open(path, tell)
    try:
        _await(handle, path, what, tell, longest)
        yield
    finally:
        os.close(handle)


def _open(path: Path, tell: Tell) -> int:
    _check_directory(path.parent)
    # without waiting for whoever writes into a pipe
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        handle = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno == errno.EROFS:
            raise
        raise HostError(f"{path} cannot be opened as a lock: {error.strerror}", f"see `ls -l {path.parent}`") from error
    try:
        info = os.fstat(handle)
        if not stat.S_ISREG(info.st_mode) or info.st_uid not in trusted_users():
            raise HostError(f"{path} is no lock of ours: it is {user_name(info.st_uid)}'s", f"remove {path}")
        if info.st_mode & 0o077:
            os.fchmod(handle, 0o600)
            tell(f"{path} could be held by others (mode {stat.S_IMODE(info.st_mode):04o}): it is 0600 now")
    except BaseException:
        os.close(handle)
        raise
    return handle


def _check_directory(path: Path) -> None:
    info, quoted = path.stat(), shlex.quote(str(path))
    if info.st_uid not in trusted_users():
        message = f"{path} is {user_name(info.st_uid)}'s: no lock in it would hold"
        raise HostError(message, f"chown root {quoted}, or choose another directory")
    if others_write(info):
        message = f"{path} can be written by others (mode {stat.S_IMODE(info.st_mode):04o}): no lock in it would hold"
        raise HostError(message, f"chmod go-w {quoted}, or choose another directory")


def _await(handle: int, path: Path, what: str, tell: Tell, longest: float) -> None:
    began = said = time.monotonic()
    if _take(handle):
        return
    tell(f"waiting: {what}{_holder(handle)}")
    while not _take(handle):
        now = time.monotonic()
        if now - began > longest:
            message = f"waited {longest:.0f} s: {what}{_holder(handle)}"
            raise HostError(message, f"end that process if it hangs; see `fuser {shlex.quote(str(path))}`")
        if now - said >= _WORDS:
            tell(f"still waiting, for {now - began:.0f} s: {what}{_holder(handle)}")
            said = now
        time.sleep(_PAUSE)


def _take(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(handle: int) -> str:
    """The process that has the lock, as far as the kernel says."""
    info = os.fstat(handle)
    place = (os.major(info.st_dev), os.minor(info.st_dev), info.st_ino)
    with contextlib.suppress(OSError):
        for pid, major, minor, inode in _HELD.findall(Path("/proc/locks").read_text("ascii")):
            if (int(major, 16), int(minor, 16), int(inode)) == place and pid != "0":
                name = Path(f"/proc/{pid}/comm").read_text("utf-8", "replace").strip()
                return f" (process {pid}, {name})"
    return ""
