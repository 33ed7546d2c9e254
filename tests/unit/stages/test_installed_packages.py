"""The manifest says what the tree has, and what scripts changed of the plan."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from builder.model.artifacts.lock import Lock, LockedPackage
from builder.model.artifacts.manifest import Manifest, Package
from builder.model.recipe import Recipe
from builder.reading import load_recipe
from builder.stages.pack import installed_packages
from builder.system.tree import Tree
from tests.images import write_recipe
from tests.samples import MANIFEST

STATUS = """\
Package: hello
Status: install ok installed
Architecture: amd64
Version: 2.10-3
Description: greets
 Package: not a field

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1.0

Package: extra
Status: install ok installed
Architecture: all
Version: 1:7-1
Depends: hello

Package: newer
Status: hold ok installed
Source: new (2.9)
Architecture: amd64
Version: 3.0
"""
DIGEST = "0123456789abcdef" * 4
HELLO = Package("hello", "2.10-3", "amd64", DIGEST, False, "hello", "2.10-3")


def locked(*packages: tuple[str, str, str]) -> Lock:
    return Lock(tuple(LockedPackage(*one, f"{one[0]}.deb", 1, DIGEST, "") for one in packages), ())


def debian(place: Path) -> tuple[Tree, Recipe]:
    (place / "tree/var/lib/dpkg").mkdir(parents=True)
    (place / "tree/var/lib/dpkg/status").write_text(STATUS, "utf-8")
    return Tree(place / "tree"), load_recipe(write_recipe(place)).recipe


def test_what_dpkg_has_is_the_result(tmp_path: Path) -> None:
    tree, recipe = debian(tmp_path)
    lock = locked(("hello", "2.10-3", "amd64"), ("gone", "1.0", "amd64"), ("newer", "2.0", "amd64"))
    packages, removed = installed_packages(tree, recipe, lock)
    assert packages == (
        Package("extra", "1:7-1", "all", "", True, "extra", "1:7-1"),
        HELLO,
        Package("newer", "3.0", "amd64", "", True, "new", "2.9"),
    )
    assert removed == (Package("gone", "1.0", "amd64", DIGEST),)


def test_what_pacman_has_is_the_result(tmp_path: Path) -> None:
    directory = tmp_path / "tree/var/lib/pacman/local/hello-1:2-1"
    directory.mkdir(parents=True)
    desc = "%NAME%\nhello\n\n%VERSION%\n1:2-1\n\n%BASE%\ngreetings\n\n%ARCH%\nx86_64\n"
    (directory / "desc").write_text(desc, "utf-8")
    (tmp_path / "tree/var/lib/pacman/local/ALPM_DB_VERSION").write_text("9\n", "ascii")
    recipe = load_recipe(write_recipe(tmp_path, "arch-nfs")).recipe
    packages, removed = installed_packages(Tree(tmp_path / "tree"), recipe, locked(("hello", "1:2-1", "x86_64")))
    assert packages == (Package("hello", "1:2-1", "x86_64", DIGEST, False, "greetings", "1:2-1"),)
    assert removed == ()


def test_a_manifest_without_a_digest_says_whose_package_it_is() -> None:
    by_script = dataclasses.replace(HELLO, sha256="", by_script=True)
    manifest = dataclasses.replace(MANIFEST, packages=(HELLO, by_script), removed=(HELLO,))
    assert Manifest.from_json(manifest.to_json()) == manifest
    for wrong in (dataclasses.replace(HELLO, sha256=""), dataclasses.replace(by_script, sha256="abc")):
        with pytest.raises(ValueError, match="is not a SHA-256 digest"):
            Manifest.from_json(dataclasses.replace(MANIFEST, packages=(wrong,)).to_json())
