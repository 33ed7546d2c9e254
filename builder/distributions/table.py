"""Which distribution a recipe's word means, and what all of them have in common."""

from __future__ import annotations

from collections.abc import Iterable

from builder.distributions.arch import Arch
from builder.distributions.base import Distro
from builder.distributions.debian import Debian
from builder.model.recipe import DistributionName, Recipe

DISTRIBUTIONS: dict[DistributionName, Distro] = {
    DistributionName.DEBIAN: Debian(),
    DistributionName.ARCH: Arch(),
}


def distro_of(recipe: Recipe) -> Distro:
    """The distribution of a recipe."""
    return DISTRIBUTIONS[recipe.distribution.name]


def titles(distros: Iterable[Distro]) -> str:
    """What people call them, in one phrase."""
    return " and ".join(distro.title for distro in distros)


def how_to_install(package: str) -> str:
    """How a package that has one name everywhere is installed."""
    return "; ".join(f"{distro.title}: {distro.install} {package}" for distro in DISTRIBUTIONS.values())
