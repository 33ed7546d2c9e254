"""YAML to Recipe, with the files beside it and what it takes from this host."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from builder.checks.recipe import contradictions
from builder.model.entry import FileBeside
from builder.model.fault import Fault
from builder.model.recipe import Recipe
from builder.reading.beside import pieces_of, read_beside
from builder.reading.document import DocumentKind, YamlDocument
from builder.reading.from_host import FROM_HOST

_RECIPE = DocumentKind(
    name="recipe",
    example="recipes/debian-nfs.yml",
    start="start from recipes/debian-nfs.yml",
    too_large="put large content into files/ beside the recipe",
    levels="four",
)


@dataclass(frozen=True)
class RecipeFile:
    """A recipe that was read: `sha256` covers all of it.

    sources: the content of each file that it names; large: of `files`, those that are not held in memory
    """

    path: Path
    recipe: Recipe
    sources: Mapping[str, bytes]
    sha256: str
    large: Mapping[str, FileBeside] = field(default_factory=dict)


def load_recipe(path: Path) -> RecipeFile:
    """Reads and checks a recipe; raises InputError that lists every fault of the file, in order."""
    document = YamlDocument(path, _RECIPE)
    recipe = document.read(Recipe)
    if recipe is not None and not document.faults:
        document.faults.extend(contradictions(recipe))
        sources, large = read_beside(recipe, path.parent, document.faults)
        recipe = _with_host(recipe, path.parent, document.faults)
    if recipe is None or document.faults:
        raise document.report()
    digest = hashlib.sha256(document.text.encode())
    for name in sorted({*sources, *large}):
        size = large[name].size if name in large else len(sources[name])
        digest.update(f"\0{name}\0{size}\0".encode())
        for piece in pieces_of(large[name]) if name in large else (sources[name],):
            digest.update(piece)
    for name in FROM_HOST[recipe.distribution.name].inputs(recipe.distribution):
        digest.update(f"\0{name}".encode())
    return RecipeFile(path, recipe, sources, digest.hexdigest(), large)


def _with_host(recipe: Recipe, directory: Path, faults: list[Fault]) -> Recipe:
    """The recipe with what it takes from this host filled in."""
    fill = FROM_HOST[recipe.distribution.name].fill
    return dataclasses.replace(recipe, distribution=fill(recipe.distribution, directory, faults))
