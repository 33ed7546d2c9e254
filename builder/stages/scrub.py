"""scrub: takes out what belongs to one machine, one build or no one."""

from __future__ import annotations

import posixpath

from builder.stages.context import Context
from builder.system.tree import Tree

# directory, pattern: what matches is removed
_PATTERNS = (
    ("/etc/ssh", "ssh_host_*"),
    ("/etc", "*-"),  # passwd-, shadow- ...: backups of the accounts' tools
    ("/etc", ".pwd.lock"),
    ("/etc", "resolv.conf.*"),
    ("/etc/apt/apt.conf.d", "*mmdebstrap*"),
    ("/etc/dpkg/dpkg.cfg.d", "*mmdebstrap*"),
    ("/etc", "*.pacnew"),
    ("/etc", "*.pacsave"),
    ("/etc/pacman.d", "gnupg"),  # with its secret key anybody could sign packages for every client
    ("/var/lib/pacman", "sync"),
    ("/var/lib/pacman", "db.lck"),
    ("/var/lib/dpkg", "*-old"),
    ("/var/lib/dpkg", "lock*"),
    ("/var/cache/debconf", "*-old"),
    ("/var/cache/apt", "*.bin"),
    ("/var/lib/dbus", "machine-id"),
    ("/var/lib/systemd", "random-seed"),
    ("/var/lib/systemd", "credential.secret"),
    ("/var/lib/dhcpcd", "*"),
    ("/var/cache/ldconfig", "aux-cache"),
    ("/root", ".*_history"),
    ("/root", ".gnupg"),
    ("/root", ".wget-hsts"),
)
_MOUNT_POINTS = ("/dev", "/proc", "/sys", "/run", "/tmp")
_EMPTIED = (
    "/var/tmp", "/var/lib/apt/lists", "/var/cache/apt/archives", "/var/cache/pacman/pkg", "/var/cache/man",
)  # fmt: skip
_LOGS = "/var/log"


def run(context: Context) -> None:
    """Removes the leftovers; a file that the recipe itself puts there stays."""
    with context.progress.step("scrub"):
        scrub(context.tree, kept={file.path for file in context.recipe.files})


def empty_mount_points(tree: Tree) -> None:
    """Removes what lies where a running system has other file systems: devices, for one."""
    for directory in _MOUNT_POINTS:
        tree.clear(directory)


def scrub(tree: Tree, kept: set[str]) -> None:
    """Removes every known leftover from a tree, except the paths in `kept`."""
    for directory, pattern in _PATTERNS:
        for name in tree.names(directory, pattern):
            path = posixpath.join(directory, name)
            if path not in kept:
                tree.remove(path)
    empty_mount_points(tree)
    for directory in _EMPTIED:
        tree.clear(directory)
    for path in list(tree.files(_LOGS)):
        # daemons expect their directories, and nobody expects old logs
        if path not in kept:
            tree.remove(path)
