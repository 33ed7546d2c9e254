"""What differs between two versions, and how that reads."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import zstandard

from builder.build import Built
from builder.cli.commands.image.build import summarize
from builder.model.artifacts.difference import FileChange, PackageChange, compare_files, compare_manifests
from builder.model.artifacts.index import FILE, FileRecord
from builder.model.artifacts.manifest import INDEX as INDEX_NAME
from builder.model.artifacts.manifest import MANIFEST as MANIFEST_NAME
from builder.model.artifacts.manifest import Manifest, Package
from builder.model.version import Version
from builder.render.report.summary import package_lines
from tests.command import run_command
from tests.samples import INDEX, MANIFEST

OLD_PACKAGES = (
    Package("bash", "5.2-1", "amd64", "1" * 64),
    Package("dhcpcd", "9.4.1-24", "all", "2" * 64),
    Package("libc6", "2.36", "amd64", "3" * 64),
    Package("libc6", "2.36", "i386", "4" * 64),
    Package("nano", "7", "amd64", "5" * 64),
)
NEW_PACKAGES = (
    Package("bash", "5.2-2", "amd64", "a" * 64),
    Package("dhcpcd", "9.4.1-24", "all", "b" * 64),
    Package("libc6", "2.36", "amd64", "3" * 64),
    Package("libc6", "2.37", "i386", "c" * 64),
    Package("tmux", "3.3", "amd64", "d" * 64),
)
OLD = dataclasses.replace(MANIFEST, version=Version("20260101-00000000"), packages=OLD_PACKAGES)
NEW = dataclasses.replace(MANIFEST, packages=NEW_PACKAGES, kernel="6.1.0-2-amd64", size=MANIFEST.size + 4_200_000)


def test_packages_that_differ() -> None:
    difference = compare_manifests(OLD, NEW)
    assert difference.changed == (
        PackageChange("bash", "5.2-1", "5.2-2"),
        PackageChange("dhcpcd", "9.4.1-24", "9.4.1-24"),
        PackageChange("libc6:i386", "2.36", "2.37"),
    )
    assert ([p.name for p in difference.added], [p.name for p in difference.removed]) == (["tmux"], ["nano"])
    assert difference.kernel == ("6.1.0-1-amd64", "6.1.0-2-amd64")
    assert (difference.size, difference.transfer) == (4_200_000, 0)


def test_a_version_is_the_same_as_itself() -> None:
    difference = compare_manifests(OLD, OLD)
    assert difference.same_packages
    assert (difference.kernel, difference.size) == (None, 0)
    assert package_lines(difference) == ("since 20260101-00000000: packages the same; +0 B",)


def test_packages_that_differ_read_well() -> None:
    assert package_lines(compare_manifests(OLD, NEW)) == (
        "since 20260101-00000000: packages 3 changed, 1 added, 1 removed; +4.2 MB",
        "  kernel 6.1.0-1-amd64 -> 6.1.0-2-amd64",
        "  ~ bash 5.2-1 -> 5.2-2",
        "  ~ dhcpcd 9.4.1-24 (built again)",
        "  ~ libc6:i386 2.36 -> 2.37",
        "  + tmux 3.3",
        "  - nano 7",
    )
    assert package_lines(compare_manifests(OLD, NEW), 3)[-1] == "  and 4 more: diskless diff"


def test_the_closing_lines() -> None:
    seconds = {"resolve": 1.24, "fetch": 0.01, "install": 70.0}
    lines = summarize(Built(Path("output/lab/20260102-0123abcd"), NEW, unchanged=False, difference=None), seconds)
    assert lines == (
        "lab 20260102-0123abcd: 5 packages, 4.2 MB, Linux 6.1.0-2-amd64",
        "to transfer: 12 kB",
        "time: resolve 1.2 s, install 1:10 min; together 1:11 min",
        "next: diskless boot output/lab/latest",
    )


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"sha256": "9" * 64}, ("content",)),
        ({"mode": 0o600, "uid": 7}, ("mode", "owner")),
        ({"xattrs": {}}, ("attributes",)),
        ({"mtime": 1}, ("time",)),
        ({"frame": 1}, ()),
    ],
)
def test_files_that_differ(changes: dict[str, object], what: tuple[str, ...]) -> None:
    values = {**vars(INDEX.files[1]), **changes}
    new = dataclasses.replace(INDEX, files=(INDEX.files[0], FileRecord(**values), *INDEX.files[2:]))
    expected = (FileChange("größe", what, 0),) if what else ()
    assert compare_files(INDEX, new).changed == expected


def write_version(directory: Path, manifest: Manifest, names: tuple[str, ...]) -> Path:
    """A version without its archives."""
    version = directory / manifest.image / manifest.version
    version.mkdir(parents=True)
    (version / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
    more = [FileRecord(name, FILE, 0o644, 0, 0, 0, 1000, "45" * 32, "", {}, 1) for name in names]
    index = dataclasses.replace(INDEX, files=(*INDEX.files, *more))
    (version / INDEX_NAME).write_bytes(zstandard.compress(index.to_json()))
    return version


def test_the_command_shows_packages_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = write_version(tmp_path, OLD, ("etc/gone",)), write_version(tmp_path, NEW, ("etc/here",))
    status, output, errors = run_command(capsys, "diff", str(old), str(new), "--files")
    assert (status, errors) == (0, "")
    assert output.splitlines()[-3:] == [
        "files: 0 changed, 1 added, 1 removed",
        "  + /etc/here  +1.0 kB",
        "  - /etc/gone  -1.0 kB",
    ]
    status, output, _ = run_command(capsys, "diff", str(old), str(new), "--json")
    assert json.loads(output)["files"] == {"added": ["etc/here"], "removed": ["etc/gone"], "changed": {}}


def test_what_is_no_version_has_no_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = write_version(tmp_path, OLD, ())
    status, _, errors = run_command(capsys, "diff", str(old), "nothing", "--output", str(tmp_path))
    assert status == 2
    assert "nothing is not a version of an image" in errors
