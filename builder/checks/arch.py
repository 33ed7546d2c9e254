"""Contradictions that only recipes of Arch Linux can hold: mirrors, trust, mkinitcpio."""

from __future__ import annotations

import collections
from collections.abc import Iterator

from builder.checks.keyring import keyring_contradictions
from builder.generators.table import generator_of
from builder.inits.table import init_of
from builder.model.fault import Fault, Place
from builder.model.recipe import (
    ArchDistribution,
    Architecture,
    Mkinitcpio,
    Recipe,
    Repository,
    Signatures,
)

_OFFICIAL = ("core", "extra", "multilib", "community", "core-testing", "extra-testing", "multilib-testing", "testing")


def arch_contradictions(recipe: Recipe, distribution: ArchDistribution) -> Iterator[Fault]:
    """All contradictions of an Arch recipe besides those that any recipe can hold."""
    yield from _mirrors(distribution)
    yield from _repositories(distribution)
    yield from _trust(distribution)
    yield from _selection(recipe, distribution)
    yield from init_of(recipe).contradictions(recipe)
    if isinstance(recipe.initramfs, Mkinitcpio):
        yield from generator_of(recipe).contradictions(recipe)
    else:
        yield Fault(
            ("initramfs", "generator"),
            "images of Arch Linux are made with mkinitcpio",
            "write initramfs: {generator: mkinitcpio}",
        )


def _mirrors(distribution: ArchDistribution) -> Iterator[Fault]:
    given = {"mirrors": distribution.mirrors, "mirrorlist": distribution.mirrorlist, "snapshot": distribution.snapshot}
    names = [name for name, value in given.items() if value]
    if len(names) > 1:
        yield Fault(
            ("distribution", names[-1]),
            f"{' and '.join(names)} all say where the packages are",
            "keep one of them",
        )
    if distribution.snapshot and distribution.architecture is Architecture.I686:
        yield Fault(
            ("distribution", "snapshot"),
            "the Arch Linux Archive has no packages for i686",
            "give the URL of a dated mirror of Arch Linux 32 as mirrors",
        )


def _repositories(distribution: ArchDistribution) -> Iterator[Fault]:
    if not distribution.repositories:
        yield Fault(("distribution", "repositories"), "'repositories' is empty", "list at least one, or leave it out")
    for position, repository in enumerate(distribution.repositories):
        place: Place = ("distribution", "repositories", position, "name")
        if repository.name in [other.name for other in distribution.repositories[:position]]:
            yield Fault(place, f"repository '{repository.name}' is listed twice", "keep one of the two")
        own = repository.mirrors or distribution.mirrors or distribution.mirrorlist
        if not own and repository.name not in _OFFICIAL:
            yield Fault(
                place,
                f"the mirrors of Arch Linux have no repository '{repository.name}'",
                "give it mirrors: [URL] of its own",
            )


def _trust(distribution: ArchDistribution) -> Iterator[Fault]:
    keyring = distribution.keyring
    yield from keyring_contradictions(keyring, keyring.path)
    if keyring.newest and all(_signatures(distribution, it) is Signatures.NEVER for it in distribution.repositories):
        yield Fault(
            ("distribution", "keyring", "newest"),
            "no repository has to be signed, so no keyring is used",
            "remove it, or signatures: never",
        )
    for position, repository in enumerate(distribution.repositories):
        if _signatures(distribution, repository) is Signatures.NEVER:
            urls = repository.mirrors or distribution.mirrors
            if not urls or not all(url.startswith("file://") for url in urls):
                yield Fault(
                    ("distribution", "repositories", position, "signatures")
                    if repository.signatures
                    else ("distribution", "signatures"),
                    f"signatures: never is for local repositories only, and '{repository.name}' is none",
                    "use a file:// mirror, or sign the repository and name the key as keyring",
                )


def _signatures(distribution: ArchDistribution, repository: Repository) -> Signatures:
    return repository.signatures or distribution.signatures


def _selection(recipe: Recipe, distribution: ArchDistribution) -> Iterator[Fault]:
    for position, name in enumerate(distribution.ignore):
        if name in recipe.packages:
            yield Fault(
                ("distribution", "ignore", position), f"'{name}' is ignored and also in packages", "keep one of the two"
            )
    for name in ("ignore", "assume_installed", "package_files", "mirrors"):
        values: tuple[str, ...] = getattr(distribution, name)
        for value, count in collections.Counter(values).items():
            if count > 1:
                position = len(values) - 1 - values[::-1].index(value)
                place: Place = ("distribution", name, position)
                yield Fault(place, f"'{value}' is listed {count} times", "keep one of them")
    if not 1 <= distribution.parallel_downloads <= 32:
        yield Fault(
            ("distribution", "parallel_downloads"),
            f"{distribution.parallel_downloads} downloads at once make no sense",
            "write a number from 1 to 32",
        )
