"""The root that pacman installs into: before, what pacman expects to be there; after, what no image should hold."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection
from pathlib import Path

from builder.errors import AuditError
from builder.model.artifacts.lock import Lock
from builder.model.entry import TreeFile
from builder.system.tree import Tree

# read by the transaction beside the hooks of packages; pacman 7.1 wants it to exist
OWN_HOOKS = "etc/pacman.d/hooks"
# pacman repairs no directory that is there: a root of mode 0700 would stay so
_DIRECTORIES = {
    "dev": 0o755,
    "proc": 0o555,
    "sys": 0o555,
    "run": 0o755,
    "tmp": 0o1777,
    "etc": 0o755,
    "etc/pacman.d": 0o755,
    OWN_HOOKS: 0o755,
    "var": 0o755,
    "var/cache": 0o755,
    "var/cache/pacman": 0o755,
    "var/cache/pacman/pkg": 0o755,
    "var/lib": 0o755,
    "var/lib/pacman": 0o755,
    "var/log": 0o755,
}
_HOOKS = "/usr/share/libalpm/hooks"
_LOCAL = "/var/lib/pacman/local"
_INSTALL_DATE = re.compile(r"(?<=^%INSTALLDATE%\n)\d+$", re.MULTILINE)
_VALIDATION = re.compile(r"(?<=^%VALIDATION%\n)(?:[a-z0-9]+\n)+", re.MULTILINE)


def prepare_tree(tree: Path) -> None:
    """An empty root with the directories that must exist first, whatever the umask."""
    tree.mkdir()
    tree.chmod(0o755)
    for name, mode in _DIRECTORIES.items():
        (tree / name).mkdir()
        (tree / name).chmod(mode)


def give_databases(databases: Path, tree: Path) -> Path:
    """Copies the `sync` directory into the root's database directory, which is returned."""
    target = tree / "var/lib/pacman"
    shutil.copytree(databases, target / "sync")
    return target


def take_back(tree: Path, epoch: int, signed: Collection[str]) -> None:
    """Removes the databases, and sets the date of installation to `epoch`: the same packages give the same bytes.

    signed: names of packages whose signature was checked when they were resolved, now or for a lock: that is entered
        for them, and the checksum for all others, whatever else this release of pacman writes down

    What packages left there is theirs: links lead nowhere out of the tree.
    """
    root = Tree(tree)
    root.remove("/var/lib/pacman/sync")
    _remove_unowned(root)
    for name in root.names(_LOCAL):
        path = f"{_LOCAL}/{name}/desc"
        content = root.read(path)
        if content is not None:
            text = _INSTALL_DATE.sub(str(epoch), content.decode("utf-8", "surrogateescape"))
            is_signed = name.rpartition("-")[0].rpartition("-")[0] in signed
            text = _VALIDATION.sub("pgp\n" if is_signed else "sha256\n", text)
            root.write(TreeFile(path, text.encode("utf-8", "surrogateescape")))


def _remove_unowned(root: Tree) -> None:
    """Removes an empty directory that no package brings: an image has nothing of ours that is not asked for."""
    line = f"{OWN_HOOKS}/\n".encode()
    files = (root.read(f"{_LOCAL}/{name}/files") or b"" for name in root.names(_LOCAL))
    if not root.names(f"/{OWN_HOOKS}") and not any(line in content.splitlines(keepends=True) for content in files):
        root.remove(f"/{OWN_HOOKS}")


def check_installed(tree: Path, lock: Lock) -> None:
    """AuditError unless the root's database names exactly the locked packages."""
    root = Tree(tree)
    installed = {name for name in root.names(_LOCAL) if root.exists(f"{_LOCAL}/{name}/.")}
    wanted = {f"{package.name}-{package.version}" for package in lock.packages}
    if installed != wanted:
        raise AuditError(
            f"the tree does not hold exactly the locked packages: {', '.join(sorted(installed ^ wanted)[:10])}",
            "this is a fault of diskless, or of a package that replaces another one; please report it",
        )


def hook_texts(tree: Path) -> list[str]:
    """The hooks that packages brought."""
    root = Tree(tree)
    paths = [f"{_HOOKS}/{name}" for name in root.names(_HOOKS, "*.hook")]
    return [content.decode("utf-8", "replace") for path in paths if (content := root.read(path)) is not None]
