"""`build --twice`: what two builds of the same do not have alike is named, with its package and why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.arch_images import extra_repository, hello, write_arch_recipe
from tests.images import run_diskless
from tests.pacman_distribution.distribution import pacman_distribution
from tests.require import needs_arch_build
from tests.scratch import scratch

pytestmark = [*needs_arch_build]
PACKAGES = ["base", "linux", "mkinitcpio", "mkinitcpio-nfs-utils", "dhcpcd", "hello"]
SCRIPT = """\
#!/bin/sh
set -e
head -c 8 /dev/urandom | od >/etc/odd
head -c 8 /dev/urandom | od >>/usr/bin/hello
mkdir -p /var/cache/fontconfig
head -c 8 /dev/urandom | od >/var/cache/fontconfig/cache-7
"""


def build(place: Path, *scripts: str) -> tuple[int, dict[str, object], str]:
    (place / "odd.sh").write_text(SCRIPT, "ascii")
    more = extra_repository("twice", [hello("5.0-1")], pacman_distribution().key)
    recipe = write_arch_recipe(
        place, image="lab", packages=PACKAGES, distribution=more, scripts=list(scripts), system={"hostname": "lab"}
    )
    paths = ("--output", place / "output", "--cache", scratch() / "cache")
    done = run_diskless("build", recipe, *paths, "--twice", "--json")
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


@pytest.mark.full
def test_what_differs_is_named(tmp_path: Path) -> None:
    status, said, words = build(tmp_path, "odd.sh")
    assert status == 5, words
    differ = said["differ"]
    assert isinstance(differ, list)
    assert {one["path"]: (one["package"], one["what"]) for one in differ} == {
        "/etc/odd": ("", ["content"]),
        "/usr/bin/hello": ("hello", ["content"]),
        "/var/cache/fontconfig/cache-7": ("fontconfig", ["content"]),
    }
    assert "error: two builds of the same differ in 3 files" in words
    assert "caches of fontconfig" in words
    assert "Traceback" not in words
    # the first is there, and nothing is left of the second
    image = tmp_path / "output/lab"
    assert (image / "latest").resolve() == Path(str(said["directory"])).resolve()
    assert {path.name for path in image.iterdir()} == {"latest", str(said["version"])}
    assert not list((tmp_path / "output/.work").glob("build-*"))


@pytest.mark.full
def test_two_builds_of_the_same_are_the_same(tmp_path: Path) -> None:
    status, said, words = build(tmp_path)
    assert (status, said["differ"]) == (0, []), words
    assert "built twice: the same to the byte" in words
