"""What installers share: how much of a download has arrived, and the loaders' packages."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from builder.errors import AuditError
from builder.installers.base import Job
from builder.loaders.base import Loader
from builder.loaders.table import packages, wanted
from builder.model.artifacts.lock import Lock, LockedPackage
from builder.model.recipe import Recipe
from builder.progress.progress import Progress
from builder.system.tree import Tree

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


def choose_loaders(job: Job, has: Callable[[str], bool]) -> tuple[Loader, ...]:
    """The recipe's loaders; where it leaves them open, those of which the mirror has every package."""
    loaders = wanted(job.recipe)
    if job.recipe.boot.loaders is not None:
        return loaders
    found = []
    for loader in loaders:
        missing = [name for name in packages([loader], job.recipe) if not has(name)]
        if missing:
            job.record(f"no boot loader {loader.name}: no mirror has {', '.join(missing)}")
        else:
            found.append(loader)
    return tuple(found) or loaders[:1]  # that none is there is an error, and it names the usual one


def loaders_in(recipe: Recipe, lock: Lock) -> tuple[Loader, ...]:
    """The loaders whose packages were locked."""
    names = {package.name for package in lock.loaders}
    return tuple(loader for loader in wanted(recipe) if set(packages([loader], recipe)) <= names)


def loader_packages(recipe: Recipe, lock: Lock) -> dict[str, dict[str, str]]:
    """The packages that bring a build's loaders: name in the bundle -> path in the package, by package."""
    return packages(loaders_in(recipe, lock), recipe)


def check_loader_builds(recipe: Recipe, lock: Lock) -> None:
    """AuditError where the files of one loader come from builds that do not match each other."""
    for loader in loaders_in(recipe, lock):
        names = packages([loader], recipe)
        versions = {package.version for package in lock.loaders if package.name in names}
        if loader.one_build and len(versions) != 1:
            raise AuditError(f"{' and '.join(names)} differ in version: {', '.join(sorted(versions))}")


def loader_file(directory: Path, path: str, package: str) -> bytes:
    """A file of a package that was unpacked into `directory`; AuditError where it brings none, or a link out of it."""
    content = Tree(directory).read(f"/{path}")
    if content is None:
        raise AuditError(
            f"the package {package} has no file {path}", "its loader is not where it was: please report it"
        )
    return content
