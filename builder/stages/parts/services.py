"""The files in a tree of what its init can start."""

from __future__ import annotations

from builder.inits.base import Init
from builder.system.tree import Tree


def service_names(tree: Tree, init: Init, pattern: str = "*") -> list[str]:
    """Sorted names that match a shell pattern."""
    return sorted({name for directory in init.directories for name in tree.names(directory, pattern)})


def read_service(tree: Tree, init: Init, name: str) -> str:
    """The text of one; empty where there is none, or it is masked."""
    for directory in init.directories:
        if name in tree.names(directory, name):
            return (tree.read(f"{directory}/{name}") or b"").decode("utf-8", "replace")
    return ""
