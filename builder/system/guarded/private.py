"""Directories of ours in places that others may write to: nobody else reads or changes what is in them."""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
from collections.abc import Callable
from pathlib import Path

from builder.errors import HostError
from builder.system.guarded.held import HeldDirectory
from builder.system.guarded.links import resolve_given
from builder.system.guarded.owners import others_write, readers, trusted_users, user_name
from builder.system.inheritance import disinherit, drop_acls

Tell = Callable[[str], None]
DIRECTORY_MODE, FILE_MODE = 0o750, 0o640
_OTHERS = 0o027  # what nobody but the owner, and for reading the group, may do


def outer_directory(path: Path, tell: Tell, is_ours: Callable[[HeldDirectory], bool]) -> HeldDirectory:
    """A directory that was given for what is written (--output, --cache), made where it is missing.

    One that holds nothing but what this program makes is kept from others like all of that.

    HostError where everybody may exchange what is in it.
    """
    real = resolve_given(path)
    is_new = not os.path.lexists(real)
    held = _made(real, DIRECTORY_MODE)
    if is_new:
        give_to_readers(held.handle)
    info = os.fstat(held.handle)
    _require_writable(held, info)
    mode = stat.S_IMODE(info.st_mode)
    if info.st_uid not in trusted_users():
        tell(f"{held.path} is {user_name(info.st_uid)}'s, who can exchange what is in it while this works")
    if mode & _OTHERS and info.st_uid in trusted_users() and is_ours(held):
        _tighten(held, mode & ~_OTHERS, tell)
    elif mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        message = f"everybody may exchange what is in {held.path} (mode {mode:04o})"
        raise HostError(message, f"chmod o-w {shlex.quote(str(held.path))}, or choose another directory")
    return held


def _require_writable(held: HeldDirectory, info: os.stat_result) -> None:
    if not os.access(f"/proc/self/fd/{held.handle}", os.W_OK | os.X_OK, effective_ids=True):
        raise _somebody_elses(held.path, info)


def _somebody_elses(path: Path, info: os.stat_result) -> HostError:
    """Says whose a directory is, and how it is handed over: release 0.1 left root's."""
    user = user_name(os.geteuid())
    command = f"sudo chown -R {user}: {shlex.quote(str(path))}"
    message = f"{path} is {user_name(info.st_uid)}'s, and {user} may not write to it"
    return HostError(message, f"hand it over: {command}; or choose another directory")


def own_directory(outer: HeldDirectory, name: str, tell: Tell, mode: int = DIRECTORY_MODE) -> HeldDirectory:
    """A directory of ours in another one, made where it is missing, kept from others where it is not.

    HostError where somebody else made it, or put a link there.
    """
    path = outer.path / name
    try:
        held = outer.make(name, mode)
        drop_acls(held.handle)
        if mode & 0o070:
            give_to_readers(held.handle)
    except FileExistsError:
        try:
            held = _entered(outer, name)
        except PermissionError as error:
            raise _somebody_elses(path, path.lstat()) from error
    info = os.fstat(held.handle)
    if info.st_uid not in trusted_users():
        message = f"{path} is {user_name(info.st_uid)}'s, who can put anything there"
        raise HostError(message, f"remove it, or choose another directory than {outer.path}")
    _require_writable(held, info)
    if stat.S_IMODE(info.st_mode) & 0o777 & ~mode:
        _tighten(held, stat.S_IMODE(info.st_mode) & (mode | 0o7000), tell)
    if not mode & 0o077 and info.st_gid != os.getegid() and info.st_uid == os.geteuid():
        # a group that is nobody's in a build's user namespace keeps even its root out
        os.fchown(held.handle, -1, os.getegid())
        disinherit(held.handle)
    return held


def keep_names(path: Path, tell: Tell) -> None:
    """Lets nobody else exchange what is in a directory of ours, which others go on reading."""
    with HeldDirectory.at(path.resolve()) as held:
        info = os.fstat(held.handle)
        if info.st_uid in trusted_users() and others_write(info):
            _tighten(held, stat.S_IMODE(info.st_mode) & ~0o022, tell)


def keep_private(held: HeldDirectory, tell: Tell) -> None:
    """Takes from others what they may do to anything in a directory of ours; links are passed over."""
    changed = sum(_keep_private(held, name) for name in held.names())
    if changed:
        tell(f"{held.path}: {changed} files and directories in it were open to others; they are not any more")


def give_to_readers(handle: int) -> None:
    """Gives an open file or directory the group of who called this by sudo, so that they can read what they built."""
    group = readers()
    if group != -1:
        os.fchown(handle, -1, group)


def _keep_private(held: HeldDirectory, name: str) -> int:
    if held.is_directory(name):
        with held.enter(name) as below:
            return _take_from_others(below.handle) + sum(_keep_private(below, one) for one in below.names())
    with contextlib.suppress(OSError):  # it is somebody else's, or went meanwhile
        return int(held.protect(name, _OTHERS))
    return 0


def _take_from_others(handle: int) -> int:
    """How many were changed: 1, or 0."""
    mode = stat.S_IMODE(os.fstat(handle).st_mode)
    if not mode & _OTHERS:
        return 0
    with contextlib.suppress(PermissionError):
        os.fchmod(handle, mode & ~_OTHERS)
        return 1
    return 0


def _tighten(held: HeldDirectory, mode: int, tell: Tell) -> None:
    before = stat.S_IMODE(os.fstat(held.handle).st_mode)
    with contextlib.suppress(PermissionError):  # it is root's, and this process is not
        os.fchmod(held.handle, mode)
        tell(f"{held.path} was open to others (mode {before:04o}): it is {mode:04o} now")


def made_directory(path: Path, mode: int) -> HeldDirectory:
    """A directory with a given path, as it is, or made with this mode, and so are those above it that are missing."""
    return _made(resolve_given(path), mode)


def entered(outer: HeldDirectory, name: str, mode: int) -> HeldDirectory:
    """A directory in another one, as it is, or made with this mode; HostError for a link, or anything else."""
    try:
        return outer.make(name, mode)
    except FileExistsError:
        return _entered(outer, name)


def _made(path: Path, mode: int) -> HeldDirectory:
    try:
        return HeldDirectory.at(path)
    except FileNotFoundError:
        above = _made(path.parent, mode)
    return entered(above, path.name, mode)


def _entered(outer: HeldDirectory, name: str) -> HeldDirectory:
    try:
        return outer.enter(name)
    except PermissionError:
        raise
    except OSError as error:
        message = f"{outer.path / name} is no directory, but a link or something else: nothing is written there"
        raise HostError(message, "see what it is, and remove it") from error
