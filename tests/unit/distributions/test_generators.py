"""Generators of the initramfs: each keeps the contract, and whatever asks for one asks the table."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from builder.generators.base import Generator
from builder.generators.table import GENERATORS, generator_of
from builder.model.artifacts.manifest import NfsRoot
from builder.model.recipe import GeneratorName, NfsVersion, Recipe, RootMode
from builder.reading import load_recipe
from tests.samples import MANIFEST

RECIPES = Path(__file__).parents[3] / "recipes"
LOCATION = "192.0.2.1:/versions/lab/root"
ROOTS = [NfsRoot(RootMode.RW, NfsVersion.V3, ()), NfsRoot(RootMode.OVERLAY, NfsVersion.V4_2, ("rsize=16384",))]
every_generator = pytest.mark.parametrize("generator", GENERATORS.values(), ids=[name.value for name in GENERATORS])


def shipped_of(generator: Generator) -> list[Recipe]:
    recipes = [load_recipe(path).recipe for path in sorted(RECIPES.glob("*.yml"))]
    found = [recipe for recipe in recipes if recipe.initramfs.generator is generator.name]
    assert found
    return found


def test_every_name_of_a_recipe_has_a_generator() -> None:
    assert {name: generator.name for name, generator in GENERATORS.items()} == {name: name for name in GeneratorName}


@every_generator
def test_a_version_finds_the_generator_that_it_was_made_with(generator: Generator) -> None:
    assert generator_of(dataclasses.replace(MANIFEST, initramfs=generator.name)) is generator
    assert all(generator_of(recipe) is generator for recipe in shipped_of(generator))


@every_generator
@pytest.mark.parametrize("root", ROOTS, ids=lambda root: root.mode.value)
def test_the_root_is_named_once(generator: Generator, root: NfsRoot) -> None:
    named = [word for word in generator.root_arguments(root, LOCATION) if LOCATION in word]
    assert len(named) == 1
    left_open = generator.root_arguments(root, None)
    assert not any(LOCATION in word for word in left_open)
    for words in (named, left_open):
        assert all(re.fullmatch(r"[!-~]+", word) for word in words), "an argument is one word"


@every_generator
def test_what_it_writes_lies_at_plain_absolute_paths(generator: Generator) -> None:
    for recipe in shipped_of(generator):
        entries = [*generator.entries(recipe), *generator.lease_entries()]
        paths = [entry.path for entry in entries]
        assert len(paths) == len(set(paths))
        assert all(path.startswith("/") and ".." not in path.split("/") for path in paths)


@every_generator
def test_shipped_recipes_do_not_contradict_it(generator: Generator) -> None:
    for recipe in shipped_of(generator):
        assert list(generator.contradictions(recipe)) == []


@every_generator
def test_the_signs_are_regular_expressions(generator: Generator) -> None:
    for sign in filter(None, dataclasses.astuple(generator.signs)):
        assert re.compile(sign, re.MULTILINE).groups == 0
