"""What a transfer keeps for its next attempt: pieces by their SHA-256, checked whenever they are read."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from builder.cache import TRANSFERS, hold_cache
from builder.errors import HostError
from builder.system.files import FULL
from builder.system.guarded.private import Tell, own_directory
from builder.transports.base import Options

_OLD = 7 * 86400  # seconds


class Kept:
    """A directory of pieces that processes may share; private to its user, made when it is needed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def read(self, sha256: str) -> bytes | None:
        """A piece that is there and whole, else None."""
        try:
            data = (self.directory / sha256).read_bytes()
        except OSError:
            return None
        return data if hashlib.sha256(data).hexdigest() == sha256 else None

    def write(self, sha256: str, data: bytes) -> None:
        """Keeps a piece, whole or not at all; HostError when the disk is full."""
        with disk_full(self.directory):
            self._make()
            try:
                handle, name = tempfile.mkstemp(dir=self.directory, prefix=".tmp-")
                try:
                    with open(handle, "wb") as file:
                        file.write(data)
                    Path(name).replace(self.directory / sha256)
                except BaseException:
                    Path(name).unlink(missing_ok=True)
                    raise
            except FileNotFoundError:
                pass  # another process that was through with this version cleared the directory

    @contextlib.contextmanager
    def partial(self, sha256: str) -> Iterator[BinaryIO]:
        """The beginning of a larger piece, to be read and extended; one that another process extends is left to it."""
        with self._lock(sha256) or tempfile.TemporaryFile(buffering=0) as file:
            yield file

    def _lock(self, sha256: str) -> BinaryIO | None:
        """The file of a piece, ours until it is closed; None where another process has it, or clears the directory."""
        self._make()
        path = self.directory / f"{sha256}.part"
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        return os.fdopen(handle, "r+b", buffering=0)

    def clear(self) -> None:
        """Forgets everything."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def prune(self, count: int) -> None:
        """Forgets all but the newest pieces."""
        with contextlib.suppress(OSError):
            found = sorted(self.directory.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
            for path in found[count:]:
                path.unlink()

    def forget_old(self) -> None:
        """Removes what lies beside this directory and nobody came back for in a week.

        A week by the clock, since a clock that is wrong costs no more than to fetch it again; what is of a time to come
        begins its week now, or would stay for years.
        """
        with contextlib.suppress(OSError):
            for path in self.directory.parent.iterdir():
                age = time.time() - path.stat().st_mtime
                if path != self.directory and age > _OLD:
                    shutil.rmtree(path, ignore_errors=True)
                elif age < 0:
                    os.utime(path)

    def _make(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)


def open_kept(options: Options, *names: str) -> Kept:
    """The directory of `names` below the cache; without a cache of ours that we may write to, one that goes with the
    object.
    """
    if options.cache is not None and _is_writable(options.cache):
        try:
            return Kept(_hold_parent(options.cache, names, options.progress.note) / names[-1])
        except HostError as error:
            options.progress.note(f"{error.message}: what is fetched is kept for this command only")
    directory = tempfile.mkdtemp(prefix="diskless-transfer-")
    kept = Kept(Path(directory))
    weakref.finalize(kept, shutil.rmtree, directory, ignore_errors=True)
    return kept


def _hold_parent(cache: Path, names: Sequence[str], tell: Tell) -> Path:
    held = own_directory(hold_cache(cache, tell), TRANSFERS, tell, 0o700)
    for name in names[:-1]:
        held = own_directory(held, name, tell, 0o700)
    return held.path


def _is_writable(path: Path) -> bool:
    while not os.path.exists(path):  # noqa: PTH110 - Path's raises where this user may not look
        path = path.parent
    return os.access(path, os.W_OK)


@contextlib.contextmanager
def disk_full(path: Path) -> Iterator[None]:
    """Says so where the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise HostError(
                f"{path}: {error.strerror}", "free some space, see `df -h`; what was fetched so far is kept"
            ) from error
        raise
