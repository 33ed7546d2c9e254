"""What a host or a container forbids, one line for each thing that commands do, tried and not guessed."""

from __future__ import annotations

import os
from pathlib import Path

from builder.model.diagnostic import Diagnostic, Level, ok, warn
from builder.system.privileges.confinement import Confinement, Refusal, read_confinement
from builder.system.privileges.permissions import Permission, ask, describe_refusal

_AREA = "permissions"
_PURPOSES = {
    Permission.OWNERS: "boot and deploy need it",
    Permission.USERS: "`diskless boot` needs it",
    Permission.NAMESPACES: "`diskless boot` needs it",
    Permission.MOUNTS: "build and shell need it, in a namespace of their own",
    Permission.NETWORK: "`diskless boot` needs it",
    Permission.TAP: "`diskless boot` needs it",
    Permission.HANDLES: "`diskless boot` with nfs-ganesha needs it",
    Permission.LOOP: "`diskless boot` needs it; without, an NFS server that exports a tmpfs",
    Permission.FLUSHER: "nfs-ganesha would use it in `diskless boot`, and does without",
}


def examine_permissions(cache: Path) -> list[Diagnostic]:
    """What boot and deploy are permitted; `cache` is where `diskless boot` unpacks."""
    if os.geteuid() != 0:
        return [warn(_AREA, "root", "only root can try what boot and deploy need", "sudo diskless doctor")]
    confinement = read_confinement()
    wanted = [permission for permission in Permission if permission is not Permission.MOUNTS]  # building.py asks
    return [_examine(permission, refusal, confinement) for permission, refusal in ask(wanted, cache).items()]


def _examine(permission: Permission, refusal: Refusal | None, confinement: Confinement) -> Diagnostic:
    if refusal is None:
        return ok(_AREA, permission, f"works: {_PURPOSES[permission]}")
    cause, remedy = describe_refusal(permission, refusal, confinement)
    level = Level.FAIL if permission in (Permission.OWNERS, Permission.NAMESPACES) else Level.WARN
    return Diagnostic(_AREA, permission, level, f"{cause}; {_PURPOSES[permission]}", remedy)
