"""What a build needs of this host, each thing tried: ids of its own, a user namespace, mounts in it, a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from builder.errors import HostError
from builder.model.diagnostic import Diagnostic, Level, fail, ok, warn
from builder.probes.programs import run_quietly
from builder.system.privileges.permissions import IMAGE, ask, confinement_of, describe_refusal
from builder.system.sandbox.calls import filter_program
from builder.system.sandbox.network import require_outside
from builder.system.sandbox.sandbox import namespace_prefix
from builder.system.userns.ids import IdMap, find_ids
from builder.system.userns.inside import call_inside

_AREA = "build"
_OVERLAY = (
    "mount -t tmpfs t /tmp && mkdir /tmp/l /tmp/u /tmp/w /tmp/m"
    " && mount -t overlay o -o lowerdir=/tmp/l,upperdir=/tmp/u,workdir=/tmp/w,userxattr /tmp/m"
)
# mount(8) is set-user-ID, and root of the host has a name in this namespace
_PLAIN = ("setpriv", "--no-new-privs")
_T = TypeVar("_T")


def examine_building(output: Path) -> list[Diagnostic]:
    """Each thing that a build needs; of what depends on one that is missing nothing is said."""
    ids, found = _tried("ids", find_ids)
    if ids is None:
        return [found]
    first, count = ids.users[0].outside, sum(part.count for part in ids.users)
    lines = [ok(_AREA, "ids", f"{count} for the owners of an image, from {first} on"), *_examine_filter()]
    _, refused = _tried("user namespace", lambda: call_inside(ids, lambda: True))
    if refused.level is not Level.OK:
        return [*lines, refused]
    return [*lines, refused, *_examine_inside(ids, output), _examine_overlay(ids), _examine_network()]


def _tried(name: str, attempt: Callable[[], _T]) -> tuple[_T | None, Diagnostic]:
    try:
        return attempt(), ok(_AREA, name, "works")
    except HostError as error:
        said = "; ".join([error.message, *error.details])
        return None, fail(_AREA, name, said, error.hint or "see user_namespaces(7)")


def _examine_filter() -> list[Diagnostic]:
    return [_tried("filter of system calls", lambda: filter_program(ignore_sync=True))[1]]


def _examine_inside(ids: IdMap, output: Path) -> list[Diagnostic]:
    confinement = confinement_of(ids)
    lines = []
    for permission, refusal in ask(IMAGE, output, ids).items():
        if refusal is None:
            lines.append(ok(_AREA, permission, "works"))
        else:
            lines.append(fail(_AREA, permission, *describe_refusal(permission, refusal, confinement)))
    return lines


def _examine_overlay(ids: IdMap) -> Diagnostic:
    """Images keep no attributes of overlayfs: trusted.* is the host's root's alone."""
    command = [*namespace_prefix(network=False), *_PLAIN, "sh", "-ec", _OVERLAY]
    status, said = call_inside(ids, lambda: list(run_quietly(command)))
    if status:
        remedy = "Linux 5.11 or newer, with overlayfs: modprobe overlay"
        return warn(_AREA, "overlay attributes", str(said).strip(), remedy)
    return ok(_AREA, "overlay attributes", "overlays with user.* attributes work; trusted.* are the host's root's")


def _examine_network() -> Diagnostic:
    try:
        require_outside()
    except HostError as error:
        return warn(_AREA, "network of scripts", error.message, error.hint or "")
    return ok(_AREA, "network of scripts", "pasta is there: scripts with `network: true` can run")
