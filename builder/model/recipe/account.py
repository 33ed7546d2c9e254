"""The accounts of an image."""

from __future__ import annotations

from dataclasses import dataclass

from builder.model.syntax import GroupName, HomePath, PasswordHash, ShellPath, SshKey, UserName, key

ROOT = "root"
FIRST_UID, LAST_UID = 1000, 59999  # UID_MIN of login.defs(5); systemd gives out the numbers from 60000 on by itself


@dataclass(frozen=True, kw_only=True)
class User:
    """One account: root or another one of the packages, which is changed, or one that is made."""

    name: UserName = key("its name")
    ssh_keys: tuple[SshKey, ...] = key(
        "who may log in with ssh: lines of .pub files, or such files beside the recipe", ()
    )
    password_hash: PasswordHash | None = key(
        "as `openssl passwd -6` prints it; left out: no password opens the account. Everybody who can read "
        "the root file system as root has the hash",
        None,
    )
    uid: int | None = key("its number; left out: the first free one from 1000", None)
    groups: tuple[GroupName, ...] = key("groups of the image that it belongs to besides its own", ())
    shell: ShellPath | None = key("its shell; left out: /bin/bash, or /bin/sh where there is none", None)
    home: HomePath | None = key("its home directory, mode 0700; left out: /home/NAME", None)


@dataclass(frozen=True, kw_only=True)
class Group:
    """One group with a number of its own: that of a file server, for example."""

    name: GroupName = key("its name")
    gid: int = key("its number")


def home_of(user: User) -> str:
    """Where a user is at home if the image's packages say nothing else."""
    return user.home or ("/root" if user.name == ROOT else f"/home/{user.name}")
