"""The work directory of one build: locked while the build lives, found and removed by the next one when it does not."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from builder.system.files import remove_tree

_PREFIX = "build-"
WORK = ".work"  # below OUTPUT: what is finished gets its name by rename(2), which cannot cross file systems


@dataclass(frozen=True)
class Workspace:
    """The paths of one build; everything is below `path`, which only root can enter."""

    path: Path

    @property
    def tree(self) -> Path:
        """The root directory being built."""
        return self.path / "tree"

    @property
    def installer(self) -> Path:
        """The installer's own directory."""
        return self.path / "installer"

    @property
    def temporary(self) -> Path:
        """TMPDIR of everything that runs."""
        return self.path / "tmp"

    @property
    def view(self) -> Path:
        """Where a sandbox puts its root together; empty outside of it."""
        return self.path / "view"

    @property
    def artifacts(self) -> Path:
        """The version directory before it gets its name."""
        return self.path / "artifacts"


@contextlib.contextmanager
def open_workspace(parent: Path) -> Iterator[Workspace]:
    """A new work directory below `parent`, removed at the end; leftovers of builds that were killed go first.

    The lock is held by an open file, so the kernel drops it however this process ends.
    """
    parent.mkdir(parents=True, exist_ok=True)
    with FileLock(str(parent / "lock")):
        remove_orphans(parent)
        path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        lock = _lock(path)
    assert lock is not None
    try:
        workspace = Workspace(path)
        for directory in (workspace.installer, workspace.temporary, workspace.view, workspace.artifacts):
            directory.mkdir()
        yield workspace
    finally:
        remove_tree(path)
        os.close(lock)


def remove_orphans(parent: Path) -> list[Path]:
    """Removes the work directories whose builds are gone, and returns them; HostError when one has mounts in it."""
    removed = []
    for path in sorted(parent.glob(f"{_PREFIX}*")):
        lock = _lock(path)
        if lock is None:
            continue
        remove_tree(path)
        os.close(lock)
        removed.append(path)
    return removed


def _lock(path: Path) -> int | None:
    """Locks a work directory; None when its build is alive."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle
