"""Fetching what a lock file names: its checksums are trusted, so it does not matter where the bytes come from."""

from __future__ import annotations

import concurrent.futures
import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from builder.errors import AuditError, TransferError
from builder.installers.base import Job, PackageSources
from builder.installers.look import UNREAD, Proxies, describe_failure, open_url
from builder.installers.shared import watched_download
from builder.model.artifacts.lock import Lock, LockedPackage
from builder.system.files import sha256_of

_SECONDS = 30
_THREADS = 4
_PIECE = 1 << 20
_SHOWN = 10
_OTHER = "it is another file than the lock says"
_REMEDY = (
    "mirrors drop packages: name a directory that has them with --packages DIR (`diskless lock --keep DIR` makes one), "
    "or lock anew: `diskless lock --update`"
)
# the addresses of a package on mirrors that a recipe names today
FindUrls = Callable[[LockedPackage], Sequence[str]]


@dataclass(frozen=True)
class Missed:
    """A package file that could not be had: from where, and why; altered: something else lies there."""

    filename: str
    words: tuple[str, ...]
    altered: bool


def fetch_locked(
    job: Job, lock: Lock, target: Path, sources: PackageSources, mirrors: FindUrls, proxies: Proxies
) -> None:
    """Makes every file of `lock` lie in the directory `target`, whose lock is held, as its checksum says.

    Without any network where all is there already, or in a directory. TransferError where a file is to be had nowhere,
    AuditError where what lies there is another one.
    """
    packages = [package for package in lock.files if not _is_whole(target / package.filename, package)]
    own = {sha256_of(path): path for path in sources.files} if packages else {}

    def places(package: LockedPackage) -> Iterator[str]:
        if package.sha256 in own:
            yield own[package.sha256].as_uri()
        yield from ((directory / package.filename).as_uri() for directory in sources.directories)
        origin = lock.origins.get(package.filename)
        yield from dict.fromkeys([*(origin.urls if origin else ()), *mirrors(package)])

    with (
        watched_download(job.progress, packages, target),
        concurrent.futures.ThreadPoolExecutor(_THREADS, "fetch") as pool,
    ):
        missed = list(filter(None, pool.map(lambda one: _fetch(one, places(one), target, proxies), packages)))
    if missed:
        raise _explain(missed)


def _fetch(package: LockedPackage, places: Iterator[str], target: Path, proxies: Proxies) -> Missed | None:
    words, altered = [], False
    part = target / f"{package.filename}.part"
    try:
        for url in places:
            try:
                with open_url(url, proxies, _SECONDS) as stream:
                    wrong = _copy(stream, part, package)
            except UNREAD as error:
                wrong = describe_failure(url, error, proxies, _SECONDS)
            if not wrong:
                part.replace(target / package.filename)
                return None
            altered = altered or wrong is _OTHER
            words.append(f"{url}: {wrong}")
    finally:
        part.unlink(missing_ok=True)
    return Missed(package.filename, tuple(words), altered)


def _copy(stream: IO[bytes], part: Path, package: LockedPackage) -> str:
    """What is wrong with what was read, "" if it is the package; never more than its bytes are written."""
    digest, size = hashlib.sha256(), 0
    with part.open("wb") as file:
        while size <= package.size and (data := stream.read(min(_PIECE, package.size - size + 1))):
            size += len(data)
            digest.update(data)
            file.write(data)
    if size < package.size:
        return f"it ends after {size} of {package.size} bytes"
    return "" if size == package.size and digest.hexdigest() == package.sha256 else _OTHER


def _is_whole(path: Path, package: LockedPackage) -> bool:
    try:
        return path.stat().st_size == package.size and sha256_of(path) == package.sha256
    except OSError:
        return False


def _explain(missed: Sequence[Missed]) -> TransferError | AuditError:
    names = ", ".join(one.filename for one in missed[:_SHOWN])
    more = f" and {len(missed) - _SHOWN} more" if len(missed) > _SHOWN else ""
    details = tuple(word for one in missed[:_SHOWN] for word in one.words or (f"{one.filename}: no address",))
    message = f"{len(missed)} of the locked packages could not be had: {names}{more}"
    if any(one.altered for one in missed):
        return AuditError(message, "what lies there is another file than the one that was locked", details)
    return TransferError(message, _REMEDY, details)


def keep_files(lock: Lock, repository: Path, target: Path) -> None:
    """Copies the files of a lock from the directory where an installer verified them."""
    for package in lock.files:
        copy = target / package.filename
        shutil.copyfile(repository / package.filename, copy)
        copy.chmod(0o644)
