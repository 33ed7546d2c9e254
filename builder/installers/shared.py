"""What installers share: the lock of the package cache, and how much of a download has arrived."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from builder.model.lock import LockedPackage
from builder.progress.progress import Progress


@contextlib.contextmanager
def locked(path: Path, notify: Callable[[str], None]) -> Iterator[None]:
    """One build at a time changes what `path` stands for; says so where it has to wait."""
    lock = FileLock(str(path))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        notify("waiting for another build to finish downloading")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


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
