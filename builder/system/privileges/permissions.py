"""Whether a thing can be done here, asked before any work begins: it is tried, not read from a list of capabilities."""

from __future__ import annotations

import dataclasses
import enum
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from builder.errors import HostError
from builder.system.files import nearest_directory
from builder.system.privileges.confinement import (
    ALL_CAPABILITIES,
    ENOUGH_IDS,
    Confinement,
    Refusal,
    explain_refusal,
    read_confinement,
)
from builder.system.run import CLEAN_ENVIRONMENT
from builder.system.sandbox.sandbox import trial_command
from builder.system.userns.ids import IdMap
from builder.system.userns.inside import call_inside

_TRIALS = str(Path(__file__).with_name("trials.py"))
_ERRNO = re.compile(r"\[Errno (\d+)\] (.*?): [^:]*$")  # str(OSError)


class Permission(enum.StrEnum):
    """What commands do that a host may forbid; the text says what for."""

    NAMESPACES = "namespaces of its own"
    MOUNTS = "mounts in them"
    OWNERS = "files of other owners"
    USERS = "processes of other users"
    NETWORK = "a network of its own"
    TAP = "network cards of guests"
    HANDLES = "opening files by handle"
    LOOP = "file systems of its own"
    FLUSHER = "the state of an I/O flusher"


IMAGE = (Permission.OWNERS, Permission.USERS, Permission.NAMESPACES, Permission.MOUNTS)
LAB = (Permission.OWNERS, Permission.USERS, Permission.NAMESPACES, Permission.NETWORK, Permission.TAP)


def ask(
    permissions: Iterable[Permission], directory: Path, ids: IdMap | None = None
) -> dict[Permission, Refusal | None]:
    """What was refused of each; None: it can be done. `directory`, or what there is of it, is where files are.

    With `ids` it is asked in the user namespace of a build, which HostError says where it is refused.
    """
    if ids is not None:
        names = list(permissions)

        def refusals() -> list[Any]:
            return [dataclasses.astuple(one) if one else None for one in _asked(names, directory)]

        said = call_inside(ids, refusals, (directory,))
        return {name: Refusal(*one) if one else None for name, one in zip(names, said, strict=True)}
    wanted = list(permissions)
    return dict(zip(wanted, _asked(wanted, directory), strict=True))


def _asked(wanted: Sequence[Permission], directory: Path) -> list[Refusal | None]:
    place = nearest_directory(directory)
    answers: dict[Permission, Refusal | None] = {}
    said = _try_all(place, [item.name.lower() for item in wanted if item is not Permission.MOUNTS])
    for permission in wanted:
        if permission is Permission.MOUNTS:
            answers[permission] = answers.get(Permission.NAMESPACES) or _try_sandbox()
        else:
            answers[permission] = said[permission.name.lower()]
    return list(answers.values())


def require_permissions(
    permissions: Iterable[Permission], purpose: str, directory: Path, ids: IdMap | None = None
) -> None:
    """Raises HostError for the first thing that cannot be done here: what, why as far as the kernel says it, remedy.

    With `ids` in the user namespace of a build.
    """
    refusals = [(permission, refusal) for permission, refusal in ask(permissions, directory, ids).items() if refusal]
    if refusals:
        permission, refusal = refusals[0]
        cause, remedy = describe_refusal(permission, refusal, confinement_of(ids))
        others = tuple(f"{name}: {one.text}" for name, one in refusals[1:] if one != refusal)
        raise HostError(f"{purpose} needs {permission}: {cause}", remedy, others)


def confinement_of(ids: IdMap | None) -> Confinement:
    """What holds this process back, or one in the user namespace of a build, which has every capability there."""
    confinement = read_confinement()
    if ids is None:
        return confinement
    return dataclasses.replace(confinement, capabilities=ALL_CAPABILITIES, ids=ENOUGH_IDS)


def describe_refusal(permission: Permission, refusal: Refusal, confinement: Confinement) -> tuple[str, str]:
    """Cause and remedy of a refusal, each in one line."""
    cause, remedy = explain_refusal(refusal, confinement)
    if refusal.tried.startswith("opening /dev/") and not confinement.in_user_namespace:
        cause, remedy = "", None  # a container has the devices that it was given, whatever else confines it
    return f"{refusal.text}{f' ({cause})' if cause else ''}", remedy or _LACKS[permission]


# where nothing is forbidden, and yet it does not work
_LACKS = {
    Permission.NAMESPACES: "the kernel needs namespaces of every kind, namespaces(7)",
    Permission.MOUNTS: "Linux 5.12 or newer, with tmpfs, devpts and proc",
    Permission.OWNERS: "/tmp and the work directory need a file system with owners: ext4, XFS, btrfs, tmpfs",
    Permission.USERS: "the host's root may be any user",
    Permission.NETWORK: "the kernel needs bridges and packet sockets: modprobe bridge af_packet",
    Permission.TAP: "the kernel needs /dev/net/tun: modprobe tun; in a container: docker run or podman run"
    " --device /dev/net/tun",
    Permission.HANDLES: "the kernel needs file handles, CONFIG_FHANDLE",
    Permission.LOOP: "the kernel needs loop devices and ext4: modprobe -a loop ext4; in a container: docker run or"
    " podman run --privileged, or --device /dev/loop-control and --device /dev/loopN of each",
    Permission.FLUSHER: "Linux 5.6 or newer has it",
}


def _try_all(directory: Path, names: list[str]) -> dict[str, Refusal | None]:
    command = [sys.executable, "-I", "-S", _TRIALS, str(directory), *names]
    done = subprocess.run(command, env=CLEAN_ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
    return {name: None if said is None else Refusal(*said) for name, said in json.loads(done.stdout).items()}


def _try_sandbox() -> Refusal | None:
    """A real sandbox, in which nothing is done."""
    with trial_command() as (command, files):
        done = subprocess.run(
            command, env=CLEAN_ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, check=False, pass_fds=files
        )
    if done.returncode == 0:
        return None
    last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
    found = _ERRNO.search(last)
    return Refusal(found[2], int(found[1]), "SYS_ADMIN") if found else Refusal(last, 0)
