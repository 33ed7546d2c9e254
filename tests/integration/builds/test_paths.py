"""Directories whose names mean something to the programs that a build configures: nothing of them goes wrong."""

from __future__ import annotations

import shutil
import urllib.parse
from pathlib import Path

import pytest

from builder.system.run import Runner
from builder.system.sandbox.sandbox import Sandbox
from tests.arch_images import hello, write_arch_recipe
from tests.images import UNUSUAL, run_diskless, write_recipe
from tests.pacman_distribution.distribution import pacman_distribution
from tests.require import needs_network, needs_root, needs_tool
from tests.scratch import scratch

pytestmark = [needs_root, pytest.mark.root]
NAMES = [UNUSUAL, "two\nlines", "-rf", "$(touch x) `touch y`"]


def directory(name: str, purpose: str) -> Path:
    path: Path = scratch() / "paths" / purpose / name
    path.mkdir(parents=True)
    return path


@pytest.mark.inside
@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_programs_see_plain_names(name: str) -> None:
    work, inside = directory(name, "sandbox"), "/run/diskless/job"
    for part in ("view", "tmp", "files"):
        (work / part).mkdir()
    with Runner(work / "log") as runner:
        sandbox = Sandbox(runner, work / "view", (work,), work / "tmp", places={inside: work})
        assert sandbox.name(work / "files/file") == f"{inside}/files/file"
        assert sandbox.name(Path("/etc/hostname")) == "/etc/hostname"
        said = sandbox.run(
            [
                "sh",
                "-c",
                'echo here >"$1" && cat "$2" && echo "$TMPDIR"',
                "sh",
                str(work / "files/file"),
                sandbox.name(work / "files/file"),
            ]
        )
    assert said.splitlines() == ["here", f"{inside}/tmp"]
    assert (work / "files/file").read_text("ascii") == "here\n"


@needs_network
@pytest.mark.network
@pytest.mark.full
@needs_tool("mmdebstrap")
@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_debian_image(name: str) -> None:
    place = directory(name, "debian")
    builds(write_recipe(place), place)


@pytest.mark.full
@needs_tool("pacman", "repo-add", "gpg", "bsdtar")
@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_an_arch_image(name: str) -> None:
    place = directory(name, "arch")
    mirror = place / "mirror"
    shutil.copytree(pacman_distribution().directory, mirror)
    file = hello().write(place).rename(place / "hello 100% #1, é.pkg.tar.zst")
    url = f"file://{urllib.parse.quote(str(mirror))}"
    builds(write_arch_recipe(place, distribution={"mirrors": [url], "package_files": [file.name]}), place)


def builds(recipe: Path, place: Path) -> None:
    result = run_diskless("build", recipe, "--output", place / "output", "--cache", place / "cache", cwd=place)
    assert result.returncode == 0, result.stderr
    assert not list(place.glob("[xy]"))


@pytest.mark.parametrize("name", [UNUSUAL], ids=["quotes"])
def test_a_boot_whose_servers_could_not_name_it_is_refused_before_anything(name: str) -> None:
    place = directory(name, "boot")
    recipe = write_recipe(place)
    result = run_diskless("boot", recipe, "--output", place / "output", "--cache", place / "cache")
    assert result.returncode == 2, result.stderr
    assert "choose another --cache" in result.stderr
    assert not (place / "output").exists()
