"""Who else may write here, and who may read: the user behind sudo, a group of their own, and nobody else."""

from __future__ import annotations

import grp
import os
import pwd
import stat

from builder.system.userns.ids import CALLER


def trusted_users() -> frozenset[int]:
    """The users whose directories and links are as good as ours: root, who runs this, and who called it by sudo(8).

    In a build's user namespace also whoever started the build, as they are called there.
    """
    behind = _behind_sudo("SUDO_UID")
    return frozenset({0, os.geteuid(), CALLER, *([] if behind is None else [behind])})


def readers() -> int:
    """The group that may read what is made here; -1: the one that files get anyway.

    Behind sudo it is the group of who called it, if nobody else is in that: named as the user, as pam_umask(8) has it.
    """
    user, group = _behind_sudo("SUDO_UID"), _behind_sudo("SUDO_GID")
    return group if user is not None and group is not None and _is_own(user, group) else -1


def others_write(info: os.stat_result) -> bool:
    """Whether others than a directory's owner can put names into it, or exchange those that are there."""
    if info.st_mode & stat.S_ISVTX:  # restricted deletion: of what is theirs only
        return False
    if info.st_mode & stat.S_IWOTH:
        return True
    return bool(info.st_mode & stat.S_IWGRP) and info.st_gid != 0 and not _is_own(info.st_uid, info.st_gid)


def user_name(uid: int) -> str:
    """A user's name, or number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """A group's name, or number where it has none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _behind_sudo(name: str) -> int | None:
    value = os.environ.get(name, "")
    return int(value) if os.geteuid() == 0 and value.isdecimal() and value != "0" else None


def _is_own(user: int, group: int) -> bool:
    """Whether a group is a user's own, with nobody else in it."""
    try:
        entry, members = pwd.getpwuid(user), grp.getgrgid(group)
    except KeyError:
        return False
    return entry.pw_gid == group and members.gr_name == entry.pw_name and set(members.gr_mem) <= {entry.pw_name}
