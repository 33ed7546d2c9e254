"""The unit files of systemd in a tree."""

from __future__ import annotations

from builder.system.tree import Tree

# of units of one name the first directory's is the one that counts, systemd.unit(5)
_DIRECTORIES = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")


def unit_names(tree: Tree, pattern: str = "*") -> list[str]:
    """Sorted names of unit files that match a shell pattern."""
    return sorted({name for directory in _DIRECTORIES for name in tree.names(directory, pattern)})


def read_unit(tree: Tree, name: str) -> str:
    """The text of a unit file; empty where there is none, or it is masked."""
    for directory in _DIRECTORIES:
        if name in tree.names(directory, name):
            return (tree.read(f"{directory}/{name}") or b"").decode("utf-8", "replace")
    return ""
