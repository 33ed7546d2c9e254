"""report: one page for people about what was built, and bills of materials for programs; no checksum covers them."""

from __future__ import annotations

from builder.distributions.table import DISTRIBUTIONS
from builder.model.artifacts.difference import Difference
from builder.model.artifacts.index import SYMLINK, Index
from builder.model.artifacts.manifest import REPORT, Manifest
from builder.model.artifacts.report import real_path
from builder.render.report.page import Report, report_page
from builder.render.sbom.documents import SBOM_NAMES, sbom
from builder.stages.context import Context
from builder.system.files import write_atomic
from builder.system.tree import Tree


def run(context: Context, manifest: Manifest, index: Index, difference: Difference | None) -> None:
    """Writes report.html and the bills of materials beside the other artifacts."""
    progress = context.progress
    owners = find_owners(context.tree, index)
    report = Report(manifest, index, owners, progress.seconds, progress.warnings, difference)
    write_atomic(context.workspace.artifacts / REPORT, report_page(report).encode())
    for form, name in SBOM_NAMES.items():
        write_atomic(context.workspace.artifacts / name, sbom(manifest, form).encode())


def find_owners(tree: Tree, index: Index) -> dict[str, str]:
    """The package of every path that one brought, by the package manager's own lists in the tree."""
    links = {file.path: file.link for file in index.files if file.type == SYMLINK and "/" not in file.path}
    owners = {}
    for distro in DISTRIBUTIONS.values():
        for package, paths in distro.package_files(tree.names, tree.read):
            owners.update({real_path(path, links): package for path in paths})
    return owners
