"""Contradictions of a Debian recipe besides those that any recipe can hold."""

from __future__ import annotations

from collections.abc import Iterator

from builder.checks.keyring import keyring_contradictions
from builder.generators.table import generator_of
from builder.model.fault import Fault, Place
from builder.model.recipe import DebianDistribution, DebianRepository, InitName, InitramfsTools, Recipe, Signatures


def debian_contradictions(recipe: Recipe, distribution: DebianDistribution) -> Iterator[Fault]:
    """All of them."""
    if recipe.system.init is not InitName.SYSTEMD:
        yield Fault(("system", "init"), f"{recipe.system.init} is for Arch Linux's derivatives", "remove it")
    if not isinstance(recipe.initramfs, InitramfsTools):
        yield Fault(
            ("initramfs", "generator"),
            "images of Debian are made with initramfs-tools",
            "write initramfs: {generator: initramfs-tools}",
        )
    else:
        yield from generator_of(recipe).contradictions(recipe)
    yield from keyring_contradictions(distribution.keyring, distribution.keyring.path)
    for position, repository in enumerate(distribution.repositories):
        place: Place = ("distribution", "repositories", position)
        if repository in distribution.repositories[:position]:
            yield Fault(place, f"the repository {repository.url} is listed twice", "keep one of the two")
        yield from _trust(repository, place)
        yield from _components(repository, place)
    if distribution.snapshot:
        yield from _snapshot(distribution)


def _trust(repository: DebianRepository, place: Place) -> Iterator[Fault]:
    never = repository.signatures is Signatures.NEVER
    if never and not repository.url.startswith("file://"):
        yield Fault(
            (*place, "signatures"),
            f"signatures: never is for local repositories only, and {repository.url} is none",
            "use a file:// URL, or sign the repository and name the key as keyring",
        )
    if never and repository.keyring:
        yield Fault((*place, "keyring"), "'keyring' has no use with signatures: never", "remove one of the two")
    if not never and not repository.keyring:
        yield Fault(
            place,
            f"the repository {repository.url} names no keyring, so nothing of it could be trusted",
            "add keyring: PATH of the keys that sign it; for a local file:// repository, signatures: never",
        )


def _components(repository: DebianRepository, place: Place) -> Iterator[Fault]:
    flat = repository.suite.endswith("/")
    if flat and repository.components:
        yield Fault(
            (*place, "suite"),
            f"'{repository.suite}' is a flat repository, which has no components",
            "add components: [], or write the suite's name without / at its end",
        )
    if not flat and not repository.components:
        yield Fault((*place, "components"), "'components' is empty", "list at least one, or leave the key out for main")


def _snapshot(distribution: DebianDistribution) -> Iterator[Fault]:
    for name in ("mirrors", "security_mirrors"):
        for position, url in enumerate(getattr(distribution, name)):
            if url.startswith("file:"):
                yield Fault(
                    ("distribution", name, position),
                    f"{url} has no snapshots",
                    "name a server of snapshot.debian.org's layout, or remove distribution.snapshot",
                )
