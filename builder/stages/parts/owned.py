"""Which files of a tree packages brought, by the package manager's own lists in it."""

from __future__ import annotations

import posixpath

from builder.distributions.table import DISTRIBUTIONS
from builder.model.artifacts.report import real_path
from builder.system.tree import Tree


def owned_paths(tree: Tree) -> frozenset[str]:
    """The absolute paths that packages list, where they lie in the tree."""
    links = {name: target for name in tree.names("/") if (target := tree.link(f"/{name}")) is not None}
    return frozenset(
        posixpath.join("/", real_path(path, links))
        for distro in DISTRIBUTIONS.values()
        for _, paths in distro.package_files(tree.names, tree.read)
        for path in paths
    )
