"""report: one page for people about what was built. It has times, so no checksum covers it."""

from __future__ import annotations

import re

from builder.model.difference import Difference
from builder.model.index import SYMLINK, Index
from builder.model.manifest import REPORT, Manifest
from builder.model.report import real_path
from builder.render.report.page import Report, report_page
from builder.stages.context import Context
from builder.system.files import write_atomic
from builder.system.tree import Tree

_DPKG, _PACMAN = "/var/lib/dpkg/info", "/var/lib/pacman/local"
_VERSION_AND_RELEASE = re.compile(r"-[^-]+-[^-]+$")


def run(context: Context, manifest: Manifest, index: Index, difference: Difference | None) -> None:
    """Writes report.html beside the other artifacts."""
    progress = context.progress
    owners = find_owners(context.tree, index)
    report = Report(manifest, index, owners, progress.seconds, progress.warnings, difference)
    write_atomic(context.workspace.artifacts / REPORT, report_page(report).encode())


def find_owners(tree: Tree, index: Index) -> dict[str, str]:
    """The package of every path that one brought, by the package manager's own lists in the tree."""
    links = {file.path: file.link for file in index.files if file.type == SYMLINK and "/" not in file.path}
    owners = {}
    for package, paths in (*_dpkg_lists(tree), *_pacman_lists(tree)):
        owners.update({real_path(path, links): package for path in paths})
    return owners


def _dpkg_lists(tree: Tree) -> list[tuple[str, list[str]]]:
    """deb(5)'s lists of files, named PACKAGE.list or PACKAGE:ARCHITECTURE.list."""
    return [
        (name.removesuffix(".list").partition(":")[0], _lines(tree, f"{_DPKG}/{name}"))
        for name in tree.names(_DPKG, "*.list")
    ]


def _pacman_lists(tree: Tree) -> list[tuple[str, list[str]]]:
    """The section %FILES% of PACKAGE-VERSION-RELEASE/files; directories in it end in a slash."""
    found = []
    for name in tree.names(_PACMAN):
        lines = _lines(tree, f"{_PACMAN}/{name}/files")
        start = lines.index("%FILES%") + 1 if "%FILES%" in lines else len(lines)
        end = lines.index("", start) if "" in lines[start:] else len(lines)
        found.append((_VERSION_AND_RELEASE.sub("", name), lines[start:end]))
    return found


def _lines(tree: Tree, path: str) -> list[str]:
    return (tree.read(path) or b"").decode("utf-8", "replace").split("\n")
