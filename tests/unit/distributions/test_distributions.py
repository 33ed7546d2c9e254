"""Distributions: each keeps the contract, and whatever asks for one asks the table."""

from __future__ import annotations

import posixpath
from pathlib import Path

import pytest

from builder.distributions.base import Distro, PackageManager
from builder.distributions.table import DISTRIBUTIONS, distro_of, how_to_install
from builder.generators.table import GENERATORS
from builder.inits.table import INITS
from builder.installers.registry import INSTALLERS
from builder.loaders.table import available
from builder.model.entry import TreeEntry, TreeFile
from builder.model.recipe import (
    Architecture,
    Compression,
    DistributionName,
    GeneratorName,
    InitName,
    NetworkClient,
    Recipe,
)
from builder.reading import load_recipe
from builder.reading.from_host import FROM_HOST
from builder.render.image.entries import image_entries
from builder.stages.scrub import EMPTIED, LEFTOVERS

ROOT = Path(__file__).parents[3]
every_distro = pytest.mark.parametrize("distro", DISTRIBUTIONS.values(), ids=[name.value for name in DISTRIBUTIONS])


def shipped_of(distro: Distro) -> list[Recipe]:
    loaded = [load_recipe(path).recipe for path in sorted((ROOT / "recipes").glob(f"{distro.name}-*.yml"))]
    assert loaded
    return loaded


def test_every_name_of_a_recipe_has_a_distribution() -> None:
    assert {name: distro.name for name, distro in DISTRIBUTIONS.items()} == {name: name for name in DistributionName}
    assert set(FROM_HOST) == set(DistributionName)
    assert set(INSTALLERS) == set(PackageManager) == {distro.manager for distro in DISTRIBUTIONS.values()}


def test_whatever_a_recipe_can_name_some_distribution_has() -> None:
    distros = DISTRIBUTIONS.values()
    assert {name for distro in distros for name in distro.generators} == set(GeneratorName) == set(GENERATORS)
    assert {name for distro in distros for name in distro.inits} == set(InitName) == set(INITS)
    assert {name for distro in distros for name in distro.clients} == set(NetworkClient)


@every_distro
def test_its_recipes_are_its_own(distro: Distro) -> None:
    for recipe in shipped_of(distro):
        assert distro_of(recipe) is distro
        assert list(distro.contradictions(recipe)) == []
        paths = [entry.path for entry in image_entries_of(recipe)]
        assert {entry.path for entry in distro.source_entries(recipe)} < set(paths)
        assert distro.locale_file in paths


def image_entries_of(recipe: Recipe) -> list[TreeEntry]:
    return image_entries(recipe, {file.source: b"" for file in recipe.files if file.source})


@every_distro
def test_it_says_what_it_has(distro: Distro) -> None:
    assert set(distro.compressors) == set(Compression)
    assert available(distro.name, Architecture.X86_64)
    assert distro.generators and distro.inits and distro.clients
    for recipe in shipped_of(distro):
        assert all(getattr(recipe.distribution, name) for name in distro.filled)


@every_distro
def test_what_it_leaves_is_removed_and_looked_for(distro: Distro) -> None:
    assert set(distro.leftovers) <= set(LEFTOVERS)
    assert set(distro.emptied) <= set(EMPTIED)
    paths = (distro.database, distro.locale_file, *distro.emptied, *(directory for directory, _ in distro.leftovers))
    assert all(posixpath.isabs(path) for path in paths)


@every_distro
def test_nothing_is_installed_in_an_empty_tree(distro: Distro) -> None:
    assert list(distro.package_files(lambda directory: [], lambda path: None)) == []


@every_distro
def test_the_recipes_own_files_are_not_completed(distro: Distro) -> None:
    for recipe in shipped_of(distro):
        own: list[TreeEntry] = [TreeFile("/etc/pacman.conf", b"[options]\n"), TreeFile("/etc/apt/sources.list", b"#\n")]
        assert distro.complete(recipe, own, lambda path: b"[options]\nColor\n") == own


def test_how_a_program_is_installed() -> None:
    assert how_to_install("nano") == "Debian: apt-get install nano; Arch Linux: pacman -S nano"
