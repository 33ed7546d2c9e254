"""Whether what pacman resolved can boot, and is what the recipe asked for."""

from __future__ import annotations

from collections.abc import Sequence

from builder.errors import InputError
from builder.installers.pacman.database import Database, DatabaseEntry
from builder.model.recipe import ArchDistribution


def boot_packages(database: Database) -> list[str]:
    """The packages without whose scriptlets no image boots: kernels, and mkinitcpio."""
    return [entry.package.name for entry in database.entries if _is_kernel(entry) or _makes_initramfs(entry)]


def _is_kernel(entry: DatabaseEntry) -> bool:
    """Every kernel of Arch depends on something that makes its initramfs, and nothing else does."""
    return "initramfs" in entry.depends


def _makes_initramfs(entry: DatabaseEntry) -> bool:
    return entry.package.name == "mkinitcpio" or "mkinitcpio" in entry.provides


def check_roles(packages: Sequence[DatabaseEntry], database: Database) -> None:
    """InputError where the resolved packages could not boot."""
    kernels = [entry.package.name for entry in packages if _is_kernel(entry)]
    if not kernels:
        known = sorted({entry.package.name for entry in database.entries if _is_kernel(entry)})
        raise InputError(
            "the packages bring no kernel, so the image could not boot",
            f"add one of {', '.join(known)} to packages" if known else "add linux to packages",
        )
    if len(kernels) > 1:
        raise InputError(
            f"the packages bring {len(kernels)} kernels: {', '.join(kernels)}", "an image boots one: keep one of them"
        )
    if not any(_makes_initramfs(entry) for entry in packages):
        raise InputError("the packages bring no mkinitcpio, so the image could not boot", "add mkinitcpio to packages")


def check_ignored(packages: Sequence[DatabaseEntry], distribution: ArchDistribution) -> None:
    """InputError where something needs what the recipe ignores."""
    names = {entry.package.name for entry in packages}
    for name in distribution.ignore:
        if name in names:
            users = [entry.package.name for entry in packages if name in entry.depends]
            raise InputError(
                f"{name} is in ignore, but {', '.join(users) or 'another package'} depends on it",
                f"remove it from ignore, or take it as fulfilled: assume_installed: [{name}]",
            )
