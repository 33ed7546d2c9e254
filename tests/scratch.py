"""Where tests write: below one directory of each run, of which nothing is left."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import os
import tempfile
from pathlib import Path

from builder.errors import DisklessError
from builder.system.workspace import remove_work

_TOP = Path("/var/tmp")
_PREFIX = "diskless-tests-"
_RUN = "DISKLESS_TEST_RUN"  # the directory of the run, for the processes that it starts
_places: list[Path] = []


@functools.cache
def scratch() -> Path:
    """A directory of this process, removed with the run's; others may enter, and not list it."""
    run = Path(os.environ[_RUN]) if _RUN in os.environ else _open_run()
    path = Path(tempfile.mkdtemp(prefix="p", dir=run))
    path.chmod(0o711)
    return path


def new_place() -> Path:
    """An empty directory there, which goes with the module whose test asked."""
    place = Path(tempfile.mkdtemp(prefix="place-", dir=scratch()))
    place.chmod(0o711)  # servers that give root up serve what lies there
    _places.append(place)
    return place


def remove_places() -> None:
    """What was made since it was called last: all places of a whole run are more than many disks have."""
    while _places:
        _remove(_places.pop())


def _open_run() -> Path:
    """Makes the directory of this run, which removes it at its end, and removes those of runs that were killed.

    pytest-xdist ends its processes ten seconds after their last test, so that these cannot remove what is large.
    """
    for left in _TOP.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            lock = _lock(left)
            _remove(left)
            os.close(lock)
    path = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=_TOP))
    _lock(path)  # until this process ends, however that is; only then has it the name that others look for
    path.chmod(0o711)
    path = path.rename(path.with_name(path.name[1:]))
    os.environ[_RUN] = str(path)
    made_by = os.getpid()
    atexit.register(lambda: _remove(path) if os.getpid() == made_by else None)
    return path


def _lock(path: Path) -> int:
    """OSError where its run is alive, or another user's."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle


def _remove(path: Path) -> None:
    with contextlib.suppress(DisklessError, OSError):
        remove_work(path)
