"""Which CVEs a version has, by a tracker's file: Debian's or Arch Linux's.

Sources: security-tracker.debian.org/tracker/data/json, security.archlinux.org/all.json.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from builder.model.artifacts.manifest import Manifest, Package
from builder.model.package_versions.alpm import is_older
from builder.model.package_versions.debian import version_key
from builder.model.recipe import DistributionName


@dataclass(frozen=True, order=True)
class Vulnerability:
    """A CVE, or what a tracker calls one that has no number yet, in a package.

    package: the source package for Debian; fixed: the first version without it, "" where there is none yet
    """

    name: str
    package: str
    version: str
    fixed: str = ""


@dataclass(frozen=True)
class CveDifference:
    """What became of the CVEs of one version in another, sorted; both: how many both have."""

    gone: tuple[Vulnerability, ...]
    come: tuple[Vulnerability, ...]
    both: int


def compare_cves(old: Manifest, new: Manifest, tracker: object) -> CveDifference:
    """Which CVEs went and came; `tracker` is the parsed file. ValueError where it is not of their distribution."""
    if old.distribution is not new.distribution:
        raise ValueError(f"one version is of {old.distribution}, the other of {new.distribution}")
    before, after = ({(one.name, one.package): one for one in find_cves(each, tracker)} for each in (old, new))
    return CveDifference(
        tuple(sorted(before[key] for key in before.keys() - after.keys())),
        tuple(sorted(after[key] for key in after.keys() - before.keys())),
        len(before.keys() & after.keys()),
    )


def find_cves(manifest: Manifest, tracker: object) -> tuple[Vulnerability, ...]:
    """Those that the tracker knows of the version's packages, sorted."""
    return tuple(sorted(set(_FINDERS[manifest.distribution](manifest, tracker))))


def unnamed_sources(manifest: Manifest) -> int:
    """How many packages have no source named, so that a tracker of sources is asked for their own names."""
    return sum(not package.source for package in manifest.materials)


def _find_debian(manifest: Manifest, tracker: object) -> Iterator[Vulnerability]:
    if not isinstance(tracker, Mapping) or not all(isinstance(one, Mapping) for one in tracker.values()):
        raise ValueError("it is not the file of Debian's security tracker: no object of source packages")
    cves = [cve for one in tracker.values() for cve in one.values()]
    if not all(isinstance(cve, Mapping) for cve in cves):
        raise ValueError("it is not the file of Debian's security tracker: no object of CVEs")
    releases = {release for cve in cves for release in _mapping(cve.get("releases"))}
    if manifest.release not in releases:
        known = ", ".join(sorted(releases)) or "nothing"
        raise ValueError(f"it has nothing of {manifest.release}, but of {known}")
    for (source, version), _ in _by_source(manifest.materials).items():
        for name, cve in tracker.get(source, {}).items():
            said = _mapping(_mapping(cve.get("releases")).get(manifest.release))
            fixed = str(said.get("fixed_version", ""))
            if said.get("status") == "open" or (
                said.get("status") == "resolved" and fixed and version_key(version) < version_key(fixed)
            ):
                yield Vulnerability(str(name), source, version, fixed)


def _by_source(packages: Sequence[Package]) -> dict[tuple[str, str], list[Package]]:
    found: dict[tuple[str, str], list[Package]] = collections.defaultdict(list)
    for package in packages:
        found[package.source or package.name, package.source_version or package.version].append(package)
    return found


def _find_arch(manifest: Manifest, tracker: object) -> Iterator[Vulnerability]:
    if not isinstance(tracker, Sequence) or not all(isinstance(one, Mapping) and "packages" in one for one in tracker):
        raise ValueError("it is not the file of Arch Linux's security tracker: no list of groups with packages")
    versions = {package.name: package.version for package in manifest.materials}
    for group in tracker:
        if group.get("status") not in ("Vulnerable", "Testing", "Fixed"):
            continue
        fixed = str(group.get("fixed") or "")
        for package in map(str, group["packages"]):
            version = versions.get(package)
            if version is not None and (not fixed or is_older(version, fixed)):
                for issue in group.get("issues") or [group.get("name")]:
                    yield Vulnerability(str(issue), package, version, fixed)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


_FINDERS: Mapping[DistributionName, Callable[[Manifest, object], Iterator[Vulnerability]]] = {
    DistributionName.DEBIAN: _find_debian,
    DistributionName.ARCH: _find_arch,
}
