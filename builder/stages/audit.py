"""audit: looks at the finished tree as a suspicious stranger would; what it finds fails the build by name."""

from __future__ import annotations

import posixpath
import re
import socket
import stat
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from builder.distributions.table import DISTRIBUTIONS
from builder.errors import AuditError
from builder.model.recipe import Recipe
from builder.stages.context import Context
from builder.stages.identity import meant_paths
from builder.stages.parts.audit_identity import identity_faults
from builder.stages.parts.audit_resolver import resolver_faults
from builder.stages.parts.owned import owned_paths
from builder.stages.scrub import EMPTIED, LEFTOVERS, MOUNT_POINTS
from builder.system.tree import Tree

_CREDENTIALS = re.compile(rb"://[^/\s:@]+:[^/\s@]+@")
# beside what scrub removes
_MUST_BE_ABSENT = ("/root/.ssh/known_hosts", "/etc/apt/auth.conf")
_MUST_EXIST = ("/sbin/init", "/etc/fstab", "/etc/passwd", "/boot")
_NAMED_IN = (
    "/etc/hostname",
    "/etc/hosts",
    "/etc/mailname",
    "/etc/postfix/main.cf",
    "/etc/exim4/update-exim4.conf.conf",
)
_SEARCHED = ("/etc", "/root", *(distro.database for distro in DISTRIBUTIONS.values()))
_LARGEST_SEARCHED = 1 << 20


def run(context: Context) -> None:
    """Raises AuditError that names everything unfit in the tree."""
    with context.progress.step("audit"):
        found = leftovers(context.tree, context.recipe, host_marks(str(context.workspace.path)))
        if found:
            raise AuditError(
                f"{len(found)} things must not be in an image: {found[0]}" + (" ..." if len(found) > 1 else ""),
                "remove the package or file that leaves them; if it is meant, put the path into the recipe's files, or "
                "for an identity that all clients may share, into system.shared_identities",
                tuple(found),
            )


def host_marks(work: str) -> dict[str, bytes]:
    """What would betray the build host: description -> bytes to look for."""
    marks = {"the work directory's path": work.encode()}
    machine_id = _host_file("/etc/machine-id").strip()
    if len(machine_id) == 32:
        marks["the build host's machine-id"] = machine_id
    return marks


def _host_file(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def leftovers(tree: Tree, recipe: Recipe, marks: dict[str, bytes]) -> list[str]:
    """Everything in `tree` that must not be in an image, one line each; what the recipe itself writes is meant."""
    kept, meant = {file.path for file in recipe.files}, meant_paths(recipe)
    checks: list[Callable[[], Iterator[str]]] = [
        lambda: _identity(tree, meant),
        lambda: identity_faults(tree, owned_paths(tree), meant),
        lambda: _host(tree, recipe),
        lambda: _places(tree, kept),
        lambda: _contents(tree, kept, marks),
        lambda: resolver_faults(tree),
        lambda: _special_files(tree),
    ]
    return [line for check in checks for line in check()]


def _identity(tree: Tree, kept: Collection[str]) -> Iterator[str]:
    if tree.read("/etc/machine-id") not in (b"", b"uninitialized\n", None):
        yield "/etc/machine-id: every client would have the same identity"
    for name in tree.names("/etc/ssh", "ssh_host_*"):
        if f"/etc/ssh/{name}" not in kept:
            yield f"/etc/ssh/{name}: every client would have the same host key"


def _host(tree: Tree, recipe: Recipe) -> Iterator[str]:
    """The host's name where programs record one (it may be any word, so it cannot be looked for everywhere)."""
    name = socket.gethostname()
    pattern = re.compile(rb"(?<![\w.-])" + re.escape(name.encode()) + rb"(?![\w-])")
    for path in _NAMED_IN:
        if name not in ("", "localhost", recipe.system.hostname) and pattern.search(tree.read(path) or b""):
            yield f"{path}: the build host's name, {name}"
    resolver, own = _host_file("/etc/resolv.conf"), tree.read("/etc/resolv.conf")
    if own and own == resolver and not recipe.network.nameservers:
        yield "/etc/resolv.conf: the build host's"


def _places(tree: Tree, kept: set[str]) -> Iterator[str]:
    for directory in (*MOUNT_POINTS, *EMPTIED):
        for name in tree.names(directory):
            yield f"{directory}/{name}: {directory} must be empty"
    for path in tree.files("/var/log"):
        if path not in kept:
            yield f"{path}: a log of the build"
    removed = (posixpath.join(directory, name) for directory, it in LEFTOVERS for name in tree.names(directory, it))
    for path in dict.fromkeys((*removed, *filter(tree.exists, _MUST_BE_ABSENT))):
        if path not in kept and not path.startswith("/etc/ssh/"):
            yield f"{path}: belongs to one machine"
    for path in _MUST_EXIST:
        if not tree.exists(path):
            yield f"{path}: missing, the image could not boot"


def _contents(tree: Tree, kept: set[str], marks: dict[str, bytes]) -> Iterator[str]:
    patterns = {
        what: re.compile(rb"(?<![A-Za-z0-9-])" + re.escape(mark) + rb"(?![A-Za-z0-9-])") for what, mark in marks.items()
    }
    for path in (path for directory in _SEARCHED for path in tree.files(directory)):
        # what a link leads to is looked at where it lies, if anywhere: Debian 11's /etc/alternatives/rlogin is ssh
        if path in kept or (tree.root / path.lstrip("/")).is_symlink():
            continue
        content = tree.read(path)
        if content is None or len(content) > _LARGEST_SEARCHED:
            continue
        if path.startswith("/etc/apt/") and _CREDENTIALS.search(content):
            yield f"{path}: credentials of a mirror"
        for what, pattern in patterns.items():
            if pattern.search(content):
                yield f"{path}: {what}"


def _special_files(tree: Tree) -> Iterator[str]:
    for path in tree.files("/"):
        mode = (tree.root / path.lstrip("/")).lstat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
            yield f"{path}: a device, socket or pipe"
