"""What installers share: how much of a download has arrived, and the loaders' packages."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path

from builder.errors import AuditError
from builder.loaders.table import chosen, packages
from builder.model.artifacts.lock import Lock, LockedPackage
from builder.model.recipe import Recipe
from builder.progress.progress import Progress

BUSY = "another build fetches packages into the same cache"  # what its lock is waited for


@contextlib.contextmanager
def watched_download(progress: Progress, packages: Collection[LockedPackage], directory: Path) -> Iterator[None]:
    """Shows how much of the packages is in `directory`, whole or in part; nothing where all of it was there before."""
    total = sum(package.size for package in packages)

    def measure() -> int:
        return sum(_arrived(package, directory) for package in packages)

    if measure() >= total:
        yield
        return
    with progress.task("download", total, measure=measure):
        yield


# beside the whole file: apt's partial/ and pacman's .part
_PARTS = ("{0}", "partial/{0}", "{0}.part")


def _arrived(package: LockedPackage, directory: Path) -> int:
    for part in _PARTS:
        with contextlib.suppress(OSError):
            return min(package.size, (directory / part.format(package.filename)).stat().st_size)
    return 0


def loader_packages(recipe: Recipe) -> dict[str, dict[str, str]]:
    """The packages that bring the recipe's loaders: name in the bundle -> path in the package, by package."""
    return packages(recipe.boot.loaders, recipe.distribution.name)


def check_loader_builds(recipe: Recipe, lock: Lock) -> None:
    """AuditError where the files of one loader come from builds that do not match each other."""
    for loader in chosen(recipe.boot.loaders):
        names = loader.packages[recipe.distribution.name]
        versions = {package.version for package in lock.loaders if package.name in names}
        if loader.one_build and len(versions) != 1:
            raise AuditError(f"{' and '.join(names)} differ in version: {', '.join(sorted(versions))}")
