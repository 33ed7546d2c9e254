"""Paths as they are given: links that others planted on the way are not followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from builder.errors import InputError
from builder.system.guarded.owners import trusted_users, user_name

_MOST_LINKS = 40  # the kernel's own limit, path_resolution(7)


def resolve_given(path: Path, is_harmless: Callable[[str], bool] = lambda target: False) -> Path:
    """The real path of a given one, as far as it exists: for `HeldDirectory.at`, which follows no link.

    InputError for a link of a user that is none of ours, wherever it leads, unless its target `is_harmless`.
    """
    done, rest, followed = Path("/"), path.absolute().parts[1:], 0
    while rest:
        here = done.parent if rest[0] == ".." else done / rest[0]
        rest = rest[1:]
        link = _read_link(here)
        if link is None:
            done = here
            continue
        owner, target = link
        if owner not in trusted_users() and not is_harmless(target):
            message = f"{here} is a link of {user_name(owner)}'s, and not followed: it leads to {target}"
            raise InputError(message, "give the path that it leads to, if that is meant")
        followed += 1
        if followed > _MOST_LINKS:
            raise InputError(f"{path} leads through links without an end", f"see `namei -l {path}`")
        rest = (*Path(target).parts, *rest)
        if target.startswith("/"):
            done, rest = Path("/"), rest[1:]
    return done


def _read_link(path: Path) -> tuple[int, str] | None:
    """Who made a link, and where it leads, of one and the same link; None where there is none."""
    try:
        handle = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        info = os.fstat(handle)
        return (info.st_uid, os.readlink("", dir_fd=handle)) if stat.S_ISLNK(info.st_mode) else None
    finally:
        os.close(handle)
