"""Contradictions of accounts and scripts."""

from __future__ import annotations

from collections.abc import Iterator

from builder.model.fault import Fault, Place
from builder.model.recipe import Recipe
from builder.model.recipe.account import FIRST_UID, LAST_UID, ROOT, User, home_of

_GROUP_NUMBERS = range(1, 2**32 - 2)
_NOBODY = (65534, 65535)  # what chown(2) and file systems take for nobody, or for no change


def user_contradictions(recipe: Recipe) -> Iterator[Fault]:
    """All contradictions of system.users."""
    users = recipe.system.users
    written = {file.path for file in recipe.files}
    for position, user in enumerate(users):
        place: Place = ("system", "users", position)
        before = users[:position]
        if user.name in [other.name for other in before]:
            yield Fault((*place, "name"), f"user '{user.name}' is listed twice", "write both into one entry")
        if user.uid is not None and user.uid in [other.uid for other in before]:
            yield Fault(
                (*place, "uid"), f"uid {user.uid} belongs to another user of the recipe", "choose another number"
            )
        yield from _numbers(user, place)
        yield from _lists(user, place)
        keys = f"{home_of(user)}/.ssh/authorized_keys"
        if user.ssh_keys and keys in written:
            yield Fault((*place, "ssh_keys"), f"{keys} is also written by files", "keep one of the two")


def group_contradictions(recipe: Recipe) -> Iterator[Fault]:
    """All contradictions of system.groups."""
    groups = recipe.system.groups
    for position, group in enumerate(groups):
        place: Place = ("system", "groups", position)
        if group.name in [other.name for other in groups[:position]]:
            yield Fault((*place, "name"), f"group '{group.name}' is listed twice", "keep one of the two")
        if group.gid in [other.gid for other in groups[:position]]:
            yield Fault(
                (*place, "gid"), f"gid {group.gid} belongs to another group of the recipe", "choose another number"
            )
        if group.gid not in _GROUP_NUMBERS or group.gid in _NOBODY:
            yield Fault((*place, "gid"), f"{group.gid} is not a number for a group", "choose one from 1 to 4294967293")


def _numbers(user: User, place: Place) -> Iterator[Fault]:
    if user.uid is None:
        return
    if user.name == ROOT:
        if user.uid != 0:
            yield Fault((*place, "uid"), f"root has the uid 0, not {user.uid}", "remove it")
    elif not FIRST_UID <= user.uid <= LAST_UID:
        yield Fault(
            (*place, "uid"),
            f"{user.uid} is not a number for a user: those below belong to the system, those above to systemd",
            f"choose one from {FIRST_UID} to {LAST_UID}",
        )


def _lists(user: User, place: Place) -> Iterator[Fault]:
    for name, values in (("groups", user.groups), ("ssh_keys", user.ssh_keys)):
        for position, value in enumerate(values):
            if value in values[:position]:
                what = f"'{value}'" if name == "groups" else "this key"
                yield Fault((*place, name, position), f"{what} is listed twice", "keep one of the two")


def script_contradictions(recipe: Recipe) -> Iterator[Fault]:
    """A script that runs twice is most often a slip."""
    sources = [script.source for script in recipe.scripts]
    for position, source in enumerate(sources):
        if source in sources[:position]:
            yield Fault(("scripts", position), f"'{source}' would run twice", "keep one of the two")
