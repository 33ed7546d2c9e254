"""Nothing changed: the version of an earlier build is taken, and only where a build would give the same again."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.model.artifacts.manifest import BUNDLE, INDEX, MANIFEST, ROOTFS
from tests.arch_images import extra_repository, hello, write_arch_recipe
from tests.images import run_diskless
from tests.pacman_distribution.distribution import pacman_distribution
from tests.require import needs_root, needs_tool
from tests.scratch import new_place

pytestmark = [needs_root, needs_tool("pacman"), pytest.mark.root]
PACKAGES = ["base", "linux", "mkinitcpio", "mkinitcpio-nfs-utils", "dhcpcd", "openssh", "tools"]
STEPS = ("install", "initramfs", "pack")
SCRIPT = "#!/bin/sh\nset -e\necho warned >&2\n"


@pytest.fixture(scope="module")
def place() -> Path:
    return new_place()


@pytest.fixture(scope="module")
def first(place: Path) -> Path:
    done = build(place)
    assert set(STEPS) <= set(done["seconds"])
    assert not done["unchanged"]
    return Path(done["directory"])


@pytest.fixture
def version(first: Path) -> Iterator[Path]:
    """As the first build left it, before and after the test."""
    kept = first.with_name("kept")
    shutil.copytree(first, kept, symlinks=True)
    yield first
    shutil.rmtree(first, ignore_errors=True)
    kept.rename(first)


def build(place: Path, *options: str, env: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    """What `diskless build --json` says of the recipe with some keys changed, in the same output and cache."""
    recipe = write_arch_recipe(place, image="lab", **changes)
    paths = ("--output", place / "output", "--cache", place / "cache")
    done = run_diskless("build", recipe, *paths, "--json", "-v", *options, env=env)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return {**said, "said": done.stderr}


def inodes(version: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in version.iterdir()}


def is_taken(done: dict[str, Any]) -> bool:
    """Whether no tree was made for it."""
    assert done["unchanged"] or set(STEPS) <= set(done["seconds"])
    return not set(STEPS) & set(done["seconds"])


def test_a_build_of_the_same_makes_no_tree(place: Path, version: Path) -> None:
    before = inodes(version)
    done = build(place)
    assert is_taken(done)
    assert Path(done["directory"]) == version
    assert inodes(version) == before
    assert "nothing changed: this version was there already" in done["said"]
    assert {"recipe", "packages", "installer", "tools"} <= set(done["said"].replace(":", " ").split())
    assert (place / "output/lab/latest").readlink() == Path(version.name)


@pytest.mark.full
def test_what_is_damaged_is_built_again_and_replaced(place: Path, version: Path) -> None:
    honest = {name: (version / name).read_bytes() for name in (MANIFEST, ROOTFS, BUNDLE, INDEX)}
    (version / ROOTFS).write_bytes(b"\0" + honest[ROOTFS][1:])
    done = build(place)
    assert not is_taken(done)
    assert f"{version} was damaged: it is replaced by what was built just now" in done["said"]
    assert {name: (version / name).read_bytes() for name in honest} == honest
    assert not list((place / "output/.work").glob("build-*"))
    again = build(place)
    assert is_taken(again)
    assert "was damaged" not in again["said"]


@pytest.mark.full
def test_fresh_is_built_anew(place: Path, version: Path) -> None:
    done = build(place, "--fresh")
    assert not is_taken(done)
    assert Path(done["directory"]) == version


@pytest.mark.full
def test_each_thing_that_decides_makes_another_version(place: Path, version: Path) -> None:
    """And undone, the first one is taken again."""
    distribution = pacman_distribution()
    newer = extra_repository("newer", [hello("3.0-1")], distribution.key)
    changes: dict[str, dict[str, Any]] = {
        "file": {"files": [{"path": "/etc/motd", "text": "hello\n"}]},
        "argument": {"boot": {"cmdline": ["ip=::::::dhcp", "rw", "panic=5"]}},
        "epoch": {"env": {"SOURCE_DATE_EPOCH": "1767225600"}},
        "package": {
            "distribution": newer,
            "packages": [*PACKAGES, "hello"],
        },
    }
    names = {version.name}
    for what, change in changes.items():
        done = build(place, **change)
        assert not is_taken(done), what
        assert done["version"] not in names, what
        names.add(done["version"])
        assert (place / "output/lab/latest").readlink() == Path(done["version"])
        assert is_taken(build(place, **change)), what
    assert is_taken(build(place))
    assert (place / "output/lab/latest").readlink() == Path(version.name)


@pytest.mark.full
def test_a_package_that_is_newer_in_the_mirror(place: Path, tmp_path: Path) -> None:
    """The recipe is the same; the mirror's databases, asked each time, are not."""
    distribution = pacman_distribution()
    changed: dict[str, Any] = {
        "packages": [*PACKAGES, "hello"],
        "distribution": extra_repository("moving", [hello("2.0-1")], distribution.key),
    }
    old = build(place, **changed)
    assert is_taken(build(place, **changed))
    again = extra_repository("moving", [hello("2.1-1")], distribution.key)
    assert again == changed["distribution"]
    new = build(place, **changed)
    assert not is_taken(new)
    assert new["version"] != old["version"]


@pytest.mark.full
def test_warnings_are_said_again(place: Path) -> None:
    """A build that takes a version warns of what that one's build warned of."""
    failing = hello()
    failing.name, failing.scriptlet = "failing", "post_install() {\n  echo cannot do that\n  exit 3\n}\n"
    files = [str(failing.write(place))]
    change: dict[str, Any] = {"distribution": {"package_files": files}, "packages": [*PACKAGES, "failing"]}
    said = [build(place, **change) for _ in range(2)]
    assert [is_taken(done) for done in said] == [False, True]
    warning = "warning: the scriptlet of 'failing' failed: cannot do that"
    assert [done["said"].count(warning) for done in said] == [1, 1]


@pytest.mark.full
@needs_tool("pasta")
@pytest.mark.usefixtures("tun")
def test_a_script_with_the_network_is_run_each_time(place: Path) -> None:
    (place / "fetch.sh").write_text(SCRIPT, "ascii")
    (place / "fetch.sh").chmod(0o755)
    for network, taken in ((False, True), (True, False)):
        script = {"source": "fetch.sh", **({"network": True} if network else {})}
        build(place, scripts=[script])
        assert is_taken(build(place, scripts=[script])) == taken


@pytest.mark.full
def test_what_cannot_be_remembered_is_only_slower(place: Path, version: Path) -> None:
    """Results that others planted, or of a newer release, are none."""
    (results,) = (place / "cache").glob("ids-*/results")
    for path in results.iterdir():
        path.unlink()
        (path.mkdir if path.name < "8" else path.touch)()
    assert not is_taken(build(place))
    subprocess.run(["rm", "-r", results], check=True)
    results.symlink_to(place)
    recipe = write_arch_recipe(place, image="lab")
    done = run_diskless("build", recipe, "--output", place / "output", "--cache", place / "cache")
    assert (done.returncode, "is no directory, but a link" in done.stderr) == (3, True), done.stderr
    results.unlink()
    assert not is_taken(build(place))
