"""Accounts as text: passwd(5), group(5), shadow(5) and gshadow(5) with the recipe's users in them.

The files are edited here, not by useradd(8), which takes the day of the last password change from the clock and is
another program on every distribution.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from builder.errors import InputError
from builder.model.recipe.account import FIRST_UID, Group, User, home_of
from builder.model.syntax import SSH_KEY
from builder.model.text.suggestion import suggest

PASSWD, GROUP, SHADOW, GSHADOW = "/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow"
NO_PASSWORD = "*"  # not `!`: sshd without PAM takes that for a locked account, and refuses its keys too
_DAY = 86400


@dataclass(frozen=True)
class Home:
    """Where a user lives: its path and numbers, and whether the account is new, so that the home has to be made."""

    user: User
    path: str
    uid: int
    gid: int
    is_new: bool


class Accounts:
    """The four files of an image, to be changed and written back."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._lines = {path: [line.split(":") for line in text.splitlines()] for path, text in files.items()}
        self._lines.setdefault(PASSWD, [])
        self._lines.setdefault(GROUP, [])
        self._lines.setdefault(SHADOW, [])

    def files(self) -> dict[str, str]:
        """The text of each file, by path."""
        return {path: "".join(":".join(line) + "\n" for line in lines) for path, lines in self._lines.items()}

    def close_open(self) -> list[str]:
        """Shuts every account that has an empty password, which anybody could enter, and names them."""
        found = []
        for path in (PASSWD, SHADOW):
            for line in self._lines[path]:
                if len(line) > 1 and line[0] and line[0][0] not in "+-" and line[1] == "":
                    line[1] = NO_PASSWORD if path == SHADOW else "x"
                    found.append(line[0])
        return list(dict.fromkeys(found))

    def add_groups(self, groups: Sequence[Group]) -> None:
        """Makes groups; InputError where the packages gave the number to another, or the name another number."""
        for group in groups:
            line = self._find(GROUP, group.name)
            if line is not None and line[2] != str(group.gid):
                message = f"system.groups: the packages gave {group.name} the gid {line[2]}, not {group.gid}"
                raise InputError(message, "remove it from system.groups, or use that number elsewhere too")
            owner = next((one[0] for one in self._lines[GROUP] if _has_number(one) and int(one[2]) == group.gid), None)
            if owner not in (None, group.name):
                message = f"system.groups: gid {group.gid} of {group.name} is {owner}'s"
                raise InputError(message, "choose another number")
            if line is None:
                self._append_group(group.name, group.gid)

    def apply(self, users: Sequence[User], epoch: int, shells: Container[str]) -> list[Home]:
        """Makes or changes the accounts; InputError for what the image has not: a group, a shell, a free number.

        `epoch` (seconds) is when passwords were last changed; `shells` holds the shells that are there.
        """
        taken = {int(line[2]) for line in self._lines[PASSWD] if _has_number(line)}
        reserved = {user.uid for user in users if user.uid is not None}
        homes = []
        for user in users:
            line = self._find(PASSWD, user.name)
            if line is None:
                line = self._add(user, taken, reserved, shells)
                homes.append(Home(user, line[5], int(line[2]), int(line[3]), is_new=True))
            else:
                self._change(line, user, shells)
                homes.append(Home(user, line[5], int(line[2]), int(line[3]), is_new=False))
            self._set_password(user, epoch)
        for user in users:
            self._join(user)
        return homes

    def _find(self, path: str, name: str) -> list[str] | None:
        return next((line for line in self._lines[path] if line[0] == name and len(line) > 2), None)

    def _add(self, user: User, taken: set[int], reserved: set[int], shells: Container[str]) -> list[str]:
        if user.uid in taken:
            owner = next(line[0] for line in self._lines[PASSWD] if _has_number(line) and int(line[2]) == user.uid)
            raise InputError(f"system.users: uid {user.uid} of {user.name} is {owner}'s", "choose another number")
        uid = user.uid if user.uid is not None else _first_free(taken | reserved)
        taken.add(uid)
        line = [user.name, "x", str(uid), str(self._own_group(user.name, uid)), "", home_of(user), _shell(user, shells)]
        self._lines[PASSWD].append(line)
        return line

    def _own_group(self, name: str, uid: int) -> int:
        group = self._find(GROUP, name)
        if group is not None:
            return int(group[2])
        taken = {int(line[2]) for line in self._lines[GROUP] if _has_number(line)}
        gid = uid if uid not in taken else _first_free(taken)
        self._append_group(name, gid)
        return gid

    def _append_group(self, name: str, gid: int) -> None:
        self._lines[GROUP].append([name, "x", str(gid), ""])
        if GSHADOW in self._lines:
            self._lines[GSHADOW].append([name, "!", "", ""])

    def _change(self, line: list[str], user: User, shells: Container[str]) -> None:
        if user.uid is not None and str(user.uid) != line[2]:
            raise InputError(
                f"system.users: the packages gave {user.name} the uid {line[2]}, not {user.uid}", "remove its uid"
            )
        line[1] = "x"
        if user.shell is not None:
            line[6] = _shell(user, shells)
        if user.home is not None:
            line[5] = user.home

    def _set_password(self, user: User, epoch: int) -> None:
        secret, day = user.password_hash or NO_PASSWORD, str(epoch // _DAY)
        line = self._find(SHADOW, user.name)
        if line is None:
            self._lines[SHADOW].append([user.name, secret, day, "0", "99999", "7", "", "", ""])
        else:
            line[1:3] = [secret, day]

    def _join(self, user: User) -> None:
        for name in user.groups:
            group = self._find(GROUP, name)
            if group is None:
                known = sorted(line[0] for line in self._lines[GROUP])
                hint = suggest(name, known) or "add the package that brings it to packages"
                raise InputError(f"system.users: {user.name} cannot be in {name}: the image has no such group", hint)
            for line in (group, self._find(GSHADOW, name) if GSHADOW in self._lines else None):
                if line is not None and user.name not in (members := [word for word in line[3].split(",") if word]):
                    line[3] = ",".join([*members, user.name])


def authorized_keys(user: User, sources: Mapping[str, bytes]) -> str:
    """The text of authorized_keys, sshd(8): each key of the recipe, and every line of the files that it names."""
    lines = []
    for text in user.ssh_keys:
        content = text if SSH_KEY.fullmatch(text) else sources[text].decode("utf-8")
        lines += [line.strip() for line in content.splitlines() if line.strip()]
    return "".join(f"{line}\n" for line in dict.fromkeys(lines))


def _has_number(line: list[str]) -> bool:
    return len(line) > 2 and line[2].isascii() and line[2].isdigit()


def _first_free(taken: set[int]) -> int:
    return next(number for number in range(FIRST_UID, FIRST_UID + len(taken) + 1) if number not in taken)


def _shell(user: User, shells: Container[str]) -> str:
    wanted = user.shell or ("/bin/bash" if "/bin/bash" in shells else "/bin/sh")
    if wanted not in shells:
        raise InputError(
            f"system.users: the image has no {wanted} for {user.name}", "add the package that brings it to packages"
        )
    return wanted


def describe_user(user: User) -> str:
    """One line for people, without anything secret."""
    login = [f"{len(user.ssh_keys)} ssh key(s)"] if user.ssh_keys else []
    login += ["a password"] if user.password_hash else []
    more = f", also in {', '.join(user.groups)}" if user.groups else ""
    return f"{user.name}: {' and '.join(login) or 'no way to log in'}{more}"
