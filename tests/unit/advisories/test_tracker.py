"""CVEs by trackers' files: of the source package, of the version's own release, in each distribution's own order."""

from __future__ import annotations

import dataclasses
import itertools
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from builder.advisories.tracker import compare_cves, find_cves
from builder.archive.writer import write_index
from builder.model.artifacts.manifest import INDEX as INDEX_NAME
from builder.model.artifacts.manifest import MANIFEST as MANIFEST_NAME
from builder.model.artifacts.manifest import Manifest, Package
from builder.model.package_versions.alpm import is_older
from builder.model.recipe import DistributionName
from tests.images import run_diskless
from tests.require import needs_tool
from tests.samples import INDEX, MANIFEST

DIGEST = "0123456789abcdef" * 4


def resolved(fixed: str) -> dict[str, Any]:
    return {"releases": {"bookworm": {"status": "resolved", "fixed_version": fixed, "urgency": "high"}}}


OPEN: dict[str, Any] = {"releases": {"bookworm": {"status": "open", "repositories": {"bookworm": "3.0.11-1"}}}}
DEBIAN: dict[str, Any] = {
    "openssl": {
        "CVE-2024-0001": resolved("3.0.11-1~deb12u2"),
        "CVE-2024-0002": resolved("3.0.9-1"),
        "CVE-2024-0003": OPEN,
        "CVE-2024-0004": resolved("0"),
        "CVE-2024-0005": {"releases": {"trixie": {"status": "open"}}},
        "TEMP-0000000-ABCDEF": {"releases": {"bookworm": {"status": "undetermined"}}},
    },
    "libssl3": {"CVE-2024-9999": OPEN},  # a binary package's name is no source's
    "zlib": {"CVE-2024-0006": OPEN},
}


def debian(*packages: tuple[str, str, str]) -> Manifest:
    """name, version, source."""
    made = tuple(Package(name, version, "amd64", DIGEST, False, source, version) for name, version, source in packages)
    return dataclasses.replace(MANIFEST, packages=made)


OLD = debian(("libssl3", "3.0.11-1~deb12u1", "openssl"), ("openssl", "3.0.11-1~deb12u1", "openssl"))
NEW = debian(("libssl3", "3.0.11-1~deb12u2", "openssl"), ("zlib1g", "1:1.2.13-1", "zlib"))


def test_debian_by_source_and_release() -> None:
    assert [one.name for one in find_cves(OLD, DEBIAN)] == ["CVE-2024-0001", "CVE-2024-0003"]
    found = compare_cves(OLD, NEW, DEBIAN)
    assert [(one.name, one.package, one.fixed) for one in found.gone] == [
        ("CVE-2024-0001", "openssl", "3.0.11-1~deb12u2")
    ]
    assert [(one.name, one.package, one.fixed) for one in found.come] == [("CVE-2024-0006", "zlib", "")]
    assert found.both == 1


def test_what_loaders_are_taken_from_counts() -> None:
    grub = Package("grub-efi-amd64-signed", "1+2.06-13", "amd64", DIGEST, False, "grub2", "2.06-13")
    manifest = dataclasses.replace(NEW, loader_packages=(grub,))
    tracker = {**DEBIAN, "grub2": {"CVE-2025-0001": resolved("2.06-14")}}
    assert "CVE-2025-0001" in [one.name for one in find_cves(manifest, tracker)]


def test_arch_by_package() -> None:
    groups = [
        {"name": "AVG-1", "packages": ["openssl"], "status": "Fixed", "fixed": "3.3.1-1", "issues": ["CVE-1", "CVE-2"]},
        {
            "name": "AVG-2",
            "packages": ["zlib", "lib32-zlib"],
            "status": "Vulnerable",
            "fixed": None,
            "issues": ["CVE-3"],
        },
        {"name": "AVG-3", "packages": ["openssl"], "status": "Not affected", "fixed": None, "issues": ["CVE-4"]},
    ]
    arch = dataclasses.replace(MANIFEST, distribution=DistributionName.ARCH, release="rolling")
    old = dataclasses.replace(arch, packages=(Package("openssl", "3.3.0-2", "x86_64", DIGEST),))
    new = dataclasses.replace(
        arch, packages=(Package("openssl", "3.3.1-1", "x86_64", DIGEST), Package("zlib", "1:1.3-1", "x86_64", DIGEST))
    )
    found = compare_cves(old, new, groups)
    assert [one.name for one in found.gone] == ["CVE-1", "CVE-2"]
    assert [one.name for one in found.come] == ["CVE-3"]


VERSIONS = [
    "1.0",
    "1.0a",
    "1.0.a",
    "1.0rc1",
    "1.0-1",
    "1.0-2",
    "1:0.5-1",
    "1.00",
    "1..0",
    "1.10",
    "1.9",
    "2b",
    "2.b",
    "10",
]


@needs_tool("vercmp")
def test_arch_versions_are_ordered_as_vercmp_orders_them() -> None:
    for one, other in itertools.permutations(VERSIONS, 2):
        said = subprocess.run(["vercmp", one, other], check=True, capture_output=True, encoding="ascii").stdout
        assert is_older(one, other) == (int(said) < 0), (one, other, said)


def write(place: Path, name: str, manifest: Manifest) -> Path:
    directory = place / name
    directory.mkdir()
    (directory / MANIFEST_NAME).write_text(manifest.to_json(), "utf-8")
    write_index(INDEX, directory / INDEX_NAME)
    return directory


def test_the_command_names_them(tmp_path: Path) -> None:
    old, new = write(tmp_path, "old", OLD), write(tmp_path, "new", NEW)
    file = tmp_path / "tracker.json"
    file.write_text(json.dumps(DEBIAN), "utf-8")
    done = run_diskless("diff", old, new, "--cves", file)
    assert done.returncode == 0, done.stderr
    assert "CVEs: 1 gone, 1 come, 1 in both" in done.stdout
    assert "  - CVE-2024-0001 openssl 3.0.11-1~deb12u1" in done.stdout
    assert "  + CVE-2024-0006 zlib 1:1.2.13-1" in done.stdout
    said = json.loads(run_diskless("diff", old, new, "--cves", file, "--json").stdout)
    assert [one["name"] for one in said["cves"]["gone"]] == ["CVE-2024-0001"]


def test_a_version_of_before_sources_is_warned_of(tmp_path: Path) -> None:
    manifest = json.loads(OLD.to_json())
    for package in manifest["packages"]:
        del package["source"], package["source_version"]
    old, new = write(tmp_path, "old", Manifest.from_json(json.dumps(manifest))), write(tmp_path, "new", NEW)
    file = tmp_path / "tracker.json"
    file.write_text(json.dumps(DEBIAN), "utf-8")
    done = run_diskless("diff", old, new, "--cves", file)
    assert (done.returncode, "2 packages are looked up by their own names" in done.stderr) == (0, True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "not the file of Debian's security tracker"),
        ("{}", "it has nothing of bookworm, but of nothing"),
        ('{"openssl": {"CVE-1": {"releases": {"sid": {}}}}}', "it has nothing of bookworm, but of sid"),
        ('{"openssl": {"CVE-1": "x"}}', "not the file of Debian's security tracker"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        (None, "No such file"),
    ],
)
def test_what_is_no_tracker_is_refused(text: str | None, words: str, tmp_path: Path) -> None:
    old = write(tmp_path, "old", OLD)
    file = tmp_path / "tracker.json"
    if text is not None:
        file.write_text(text, "utf-8")
    done = run_diskless("diff", old, old, "--cves", file)
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr
    assert "Traceback" not in done.stderr
