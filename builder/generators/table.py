"""Which generator a recipe's or a manifest's word means."""

from __future__ import annotations

from builder.generators.base import Generator
from builder.generators.initramfs_tools import InitramfsToolsGenerator
from builder.generators.mkinitcpio import MkinitcpioGenerator
from builder.model.artifacts.manifest import Manifest
from builder.model.recipe import GeneratorName, Recipe

GENERATORS: dict[GeneratorName, Generator] = {
    GeneratorName.INITRAMFS_TOOLS: InitramfsToolsGenerator(),
    GeneratorName.MKINITCPIO: MkinitcpioGenerator(),
}


def generator_of(what: Recipe | Manifest) -> Generator:
    """The generator of a recipe, or the one that a version was made with."""
    if isinstance(what, Recipe):
        return GENERATORS[what.initramfs.generator]
    return GENERATORS[GeneratorName(what.initramfs)]
