"""Where packages that are locked come from, and databases of exactly those, as repo-add(8) writes them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import libarchive

from builder.distributions.pacman import package_urls
from builder.errors import InputError
from builder.installers.locked import FindUrls
from builder.installers.pacman.database import DatabaseEntry
from builder.model.artifacts.lock import Lock, Origin
from builder.model.recipe import ArchDistribution


def origins_of(
    entries: Iterable[DatabaseEntry], distribution: ArchDistribution, unsigned: Collection[str]
) -> dict[str, Origin]:
    """By the file's name, where each package lies; `unsigned` are repositories whose packages need no signature."""
    return {
        entry.package.filename: Origin(
            _urls(entry.repository, entry.package.filename, distribution),
            entry.repository,
            entry.repository not in unsigned,
        )
        for entry in entries
    }


def signed_names(lock: Lock) -> frozenset[str]:
    """The packages that were signed when they were resolved."""
    return frozenset(package.name for package in lock.packages if lock.origins[package.filename].signed)


def urls_today(lock: Lock, distribution: ArchDistribution) -> FindUrls:
    """The addresses of a locked package on the mirrors that the recipe names now."""
    return lambda package: _urls(lock.origins[package.filename].repository, package.filename, distribution)


def _urls(repository: str, filename: str, distribution: ArchDistribution) -> tuple[str, ...]:
    found = [item for item in distribution.repositories if item.name == repository]
    return tuple(url for item in found for url in package_urls(distribution, item, filename))


def write_databases(directory: Path, lock: Lock, repositories: Sequence[str]) -> None:
    """A database `NAME.db` for each repository; InputError for a package of another one."""
    by_repository: dict[str, dict[str, str]] = {name: {} for name in repositories}
    for package in (*lock.packages, *lock.loaders):
        name = lock.origins[package.filename].repository
        if name not in by_repository:
            message = f"{package.filename} is locked from the repository {name!r}, which the recipe does not name"
            raise InputError(message, "`diskless lock --update` makes the lock anew")
        by_repository[name][f"{package.name}-{package.version}/desc"] = package.record
    for name, records in by_repository.items():
        with libarchive.file_writer(str(directory / f"{name}.db"), "gnutar", "gzip") as archive:
            for path, record in records.items():
                data = record.encode()
                archive.add_file_from_memory(path, len(data), data)
