"""scrub: takes out what belongs to one machine, one build or no one."""

from __future__ import annotations

import posixpath
import stat

from builder.distributions.table import DISTRIBUTIONS
from builder.model.entry import TreeFile
from builder.stages.context import Context
from builder.stages.parts.keystore import with_epoch
from builder.system.tree import Tree

# directory, pattern: what matches is removed
LEFTOVERS = (
    ("/etc/ssh", "ssh_host_*"),
    ("/etc", "*-"),  # passwd-, shadow- ...: backups of the accounts' tools
    ("/etc", ".pwd.lock"),
    ("/etc", "resolv.conf.*"),
    ("/var/lib/dbus", "machine-id"),
    ("/var/lib/systemd", "random-seed"),
    ("/var/lib/systemd", "credential.secret"),
    ("/var/lib/dhcpcd", "*"),
    ("/var/cache/ldconfig", "aux-cache"),
    ("/root", ".*_history"),
    ("/root", ".gnupg"),
    ("/root", ".wget-hsts"),
    *(leftover for distro in DISTRIBUTIONS.values() for leftover in distro.leftovers),
)
MOUNT_POINTS = ("/dev", "/proc", "/sys", "/run", "/tmp")
EMPTIED = ("/var/tmp", "/var/cache/man", *(path for distro in DISTRIBUTIONS.values() for path in distro.emptied))
_LOGS = "/var/log"


# stores of trusted certificates; /usr/lib/jvm has links to the first
_KEYSTORES = ("/etc/ssl/certs/java/cacerts", "/etc/ca-certificates/extracted/java-cacerts.jks")
_LARGEST_KEYSTORE = 16 << 20


def run(context: Context, epoch: int) -> None:
    """Removes the leftovers, and moments from what has them inside; a file that the recipe itself puts there stays."""
    with context.progress.step("scrub"):
        kept = {file.path for file in context.recipe.files}
        scrub(context.tree, kept=kept)
        set_moments(context.tree, epoch, kept)


def set_moments(tree: Tree, epoch: int, kept: set[str]) -> None:
    """Lets nothing in Java's stores be younger than `epoch`, seconds."""
    for path in _KEYSTORES:
        content = None if path in kept else tree.read(path, _LARGEST_KEYSTORE)
        if content is not None and (changed := with_epoch(content, epoch)) != content:
            info = tree.status(path)
            tree.write(TreeFile(path, changed, stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid))


def empty_mount_points(tree: Tree) -> None:
    """Removes what lies where a running system has other file systems: devices, for one."""
    for directory in MOUNT_POINTS:
        tree.clear(directory)


def scrub(tree: Tree, kept: set[str]) -> None:
    """Removes every known leftover from a tree, except the paths in `kept`."""
    for directory, pattern in LEFTOVERS:
        for name in tree.names(directory, pattern):
            path = posixpath.join(directory, name)
            if path not in kept:
                tree.remove(path)
    empty_mount_points(tree)
    for directory in EMPTIED:
        tree.clear(directory)
    for path in list(tree.files(_LOGS)):
        # daemons expect their directories, and nobody expects old logs
        if path not in kept:
            tree.remove(path)
