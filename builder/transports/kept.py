"""What a transfer keeps for its next attempt: pieces by their SHA-256, checked whenever they are read.

A directory of pieces has two locks of its own. `.use` is shared by all who need what is there, so that nobody removes
it; `.fetch` is for the one who fetches, and the others find what that one brought.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from builder.cache import TRANSFERS, hold_cache
from builder.errors import AuditError, HostError
from builder.model.text.digest import is_sha256
from builder.system.files import FULL
from builder.system.guarded.locks import locked
from builder.system.guarded.private import Tell, own_directory
from builder.transports.base import Options

_OLD = 7 * 86400  # seconds
_MOST_BESIDE = 8  # versions that were begun: whoever sends another one each time fills no disk
_PART = ".part"  # ends the name of a piece that may be larger, and was not read as a whole
_USE, _FETCH = ".use", ".fetch"
_LARGEST_PIECE = 64 << 20  # bytes; of those that are read whole: documents and frames
_VERSION = re.compile("[0-9a-f]{32}")  # the name of a directory of pieces that goes when it is old
_OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class Kept:
    """A directory of pieces that processes may share; private to its user, made when it is needed.

    is_alone: whether what lies beside it is anything, and none of ours
    """

    def __init__(self, directory: Path, *, is_alone: bool = False) -> None:
        self.directory = directory
        self._is_alone = is_alone
        self._let_go: Callable[[], object] | None = None  # of what others must not remove

    def read(self, sha256: str) -> bytes | None:
        """A piece that is there and whole, else None; one that is damaged is removed."""
        path = self.path_of(sha256)
        try:
            with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                data = file.read(_LARGEST_PIECE + 1)
        except OSError:
            return None
        if hashlib.sha256(data).hexdigest() == sha256:
            return data
        path.unlink(missing_ok=True)
        return None

    def has(self, sha256: str) -> bool:
        """Whether a piece is there, whole or not."""
        return self.path_of(sha256).is_file()

    @contextlib.contextmanager
    def fetching(self, tell: Tell) -> Iterator[None]:
        """Nobody else fetches into the directory meanwhile; what is in it stays until `clear`."""
        self._hold()
        with locked(self.directory / _FETCH, "another diskless fetches the same version", tell):
            yield

    def _hold(self) -> None:
        """Keeps others from removing it, as long as the process lives or until `clear`."""
        while self._let_go is None:
            self._make()
            path = self.directory / _USE
            try:
                handle = os.open(path, _OPEN, 0o600)
            except FileNotFoundError:
                continue
            fcntl.flock(handle, fcntl.LOCK_SH)
            if _is_named(path, handle):
                self._let_go = weakref.finalize(self, os.close, handle)
            else:
                os.close(handle)  # who cleared the directory was faster

    def write(self, sha256: str, data: bytes) -> None:
        """Keeps a piece, whole or not at all; HostError when the disk is full."""
        path = self.path_of(sha256)
        with disk_full(self.directory):
            self._make()
            try:
                handle, name = tempfile.mkstemp(dir=self.directory, prefix=".tmp-")
                try:
                    with open(handle, "wb") as file:
                        file.write(data)
                    Path(name).replace(path)
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
        try:
            handle = os.open(self.path_of(sha256, _PART), _OPEN, 0o600)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        return os.fdopen(handle, "r+b", buffering=0)

    def whole(self, sha256: str, size: int) -> BinaryIO | None:
        """A larger piece that is there as a whole, to read; None where it is not, or has another size."""
        try:
            file = open(os.open(self.path_of(sha256, _PART), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")  # noqa: SIM115
        except OSError:
            return None
        if os.fstat(file.fileno()).st_size == size:
            return file
        file.close()
        return None

    def forget(self, sha256: str) -> None:
        """Removes a piece, a larger one too."""
        for path in (self.path_of(sha256), self.path_of(sha256, _PART)):
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Forgets everything that nobody else uses."""
        if self._let_go is not None:
            self._let_go()
            self._let_go = None
        _remove_unused(self.directory)

    def prune(self, count: int) -> None:
        """Forgets all but the newest pieces."""
        with contextlib.suppress(OSError):
            found = sorted(self.directory.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
            for path in found[count:]:
                path.unlink(missing_ok=True)

    def forget_old(self) -> None:
        """Removes what lies beside this directory and nobody came back for in a week, and all but the newest few.

        A week by the clock, since a clock that is wrong costs no more than to fetch it again; what is of a time to come
        begins its week now, or would stay for years.
        """
        if self._is_alone:
            return
        with contextlib.suppress(OSError):
            beside = [path for path in self.directory.parent.iterdir() if _VERSION.fullmatch(path.name)]
            found = sorted(beside, key=lambda path: path.stat().st_mtime, reverse=True)
            for number, path in enumerate(found):
                age = time.time() - path.stat().st_mtime
                if path != self.directory and (age > _OLD or number >= _MOST_BESIDE):
                    _remove_unused(path)
                elif age < 0:
                    os.utime(path)

    def path_of(self, sha256: str, ending: str = "") -> Path:
        """Where a piece lies; AuditError for what is no SHA-256: others may have chosen it, and it names a file."""
        if not is_sha256(sha256):
            raise AuditError(
                f"{sha256!r:.80} is not a SHA-256 digest",
                "upload the version again, and find out who else can write there",
            )
        return self.directory / f"{sha256}{ending}"

    def _make(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)


def _remove_unused(directory: Path) -> None:
    """Removes a directory of pieces, unless somebody uses what is in it."""
    try:
        with open(os.open(directory / _USE, _OPEN & ~os.O_CREAT), "r+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(directory, ignore_errors=True)
    except FileNotFoundError:
        shutil.rmtree(directory, ignore_errors=True)
    except OSError:
        return


def _is_named(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(follow_symlinks=False), os.fstat(handle))
    except FileNotFoundError:
        return False


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
    kept = Kept(Path(directory), is_alone=True)
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
