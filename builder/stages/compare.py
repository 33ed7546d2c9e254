"""compare: a second build of the same with the first, file by file: who brought what differs, and why it does."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.archive.members import read_members
from builder.archive.unpack import index_in
from builder.errors import HostError
from builder.model.artifacts.difference import compare_files, compare_manifests
from builder.model.artifacts.index import Index
from builder.model.artifacts.manifest import BUNDLE, Manifest
from builder.output.given import hold_version
from builder.output.versions import manifest_in
from builder.stages.context import Context
from builder.stages.parts.unstable import ONLY_IN, find_source
from builder.stages.report import find_owners


@dataclass(frozen=True)
class FirstBuild:
    """What the second is compared with. bundle: SHA-256 by name."""

    manifest: Manifest
    index: Index
    bundle: Mapping[str, str]


@dataclass(frozen=True)
class Divergence:
    """A file that two builds of the same do not have alike.

    path: in the image, or boot.tar.zst:NAME; what: what differs: content, time, ...
    package: which brought it, or is known to make it, "" where none is
    reason: what is known of such files, "" where nothing is
    """

    path: str
    what: tuple[str, ...]
    package: str
    reason: str


def read_first(version: Path) -> FirstBuild:
    """A version that was built before."""
    with hold_version(version) as held:
        return FirstBuild(manifest_in(held), index_in(held), _digests(version))


def run(context: Context, manifest: Manifest, index: Index, first: FirstBuild) -> tuple[Divergence, ...]:
    """What differs, sorted; HostError where the packages are not the same."""
    with context.progress.step("compare"):
        if manifest.root_digest == first.manifest.root_digest:
            return ()
        _require_same_packages(first.manifest, manifest)
        difference = compare_files(first.index, index)
        found = {change.path: change.what for change in difference.changed}
        found |= {record.path: (ONLY_IN[0],) for record in difference.removed}
        found |= {record.path: (ONLY_IN[1],) for record in difference.added}
        owners = find_owners(context.tree, index)
        files = [_explained(f"/{path}", what, owners.get(path, "")) for path, what in sorted(found.items())]
        return (*files, *_bundle(first.bundle, _digests(context.workspace.artifacts)))


def _require_same_packages(first: Manifest, second: Manifest) -> None:
    difference = compare_manifests(first, second)
    scripted = {package.name for one in (first, second) for package in one.packages if package.by_script}
    names = [one.name for one in (*difference.added, *difference.removed)] + [one.name for one in difference.changed]
    moved = [name for name in names if name not in scripted]
    if moved:
        raise HostError(
            f"the mirrors have other packages than when the first build took them: {', '.join(moved[:10])}",
            "run it again; or lock them (`diskless lock`), and build with --locked --twice",
        )


def _explained(path: str, what: tuple[str, ...], owner: str) -> Divergence:
    source = find_source(path, what)
    return Divergence(path, what, owner or (source.maker if source else ""), source.reason if source else "")


def _digests(version: Path) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in read_members(version / BUNDLE).items()}


def _bundle(first: Mapping[str, str], second: Mapping[str, str]) -> list[Divergence]:
    names = sorted(first.keys() | second.keys())
    return [
        Divergence(f"{BUNDLE}:{name}", ("content",), "", "") for name in names if first.get(name) != second.get(name)
    ]
