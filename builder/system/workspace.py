"""The work directory of one build: locked while the build lives, found and removed by the next one when it does not."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.errors import DisklessError, HostError, InputError
from builder.system.files import make_directory, nearest_directory
from builder.system.guarded.held import HeldDirectory
from builder.system.guarded.links import resolve_given
from builder.system.guarded.locks import locked
from builder.system.guarded.owners import trusted_users, user_name
from builder.system.guarded.private import Tell
from builder.system.guarded.removal import remove_tree
from builder.system.inheritance import disinherit, require_plain
from builder.system.userns.ids import every_id
from builder.system.userns.inside import call_inside, take_over

_PREFIX = "build-"
_KEPT = "kept-"
WORK = ".work"  # below OUTPUT: what is finished gets its name by rename(2), which cannot cross file systems


@dataclass(frozen=True)
class Workspace:
    """The paths of one build; everything is below `path`, which only its user can enter.

    What is `inside` belongs to the ids of an image, and is made, read and removed in its user namespace.
    """

    path: Path

    @property
    def inside(self) -> Path:
        """All that programs of a build may write to."""
        return self.path / "inside"

    @property
    def tree(self) -> Path:
        """The root directory being built."""
        return self.inside / "tree"

    @property
    def installer(self) -> Path:
        """The installer's own directory."""
        return self.inside / "installer"

    @property
    def temporary(self) -> Path:
        """TMPDIR of everything that runs."""
        return self.inside / "tmp"

    @property
    def view(self) -> Path:
        """Where a sandbox puts its root together; empty outside of it."""
        return self.inside / "view"

    @property
    def artifacts(self) -> Path:
        """The version directory before it gets its name."""
        return self.path / "artifacts"

    def move_in(self) -> None:
        """Makes what lies inside; called in the image's user namespace.

        HostError where files there would get what nobody gave them.
        """
        take_over(self.inside)
        require_plain(self.inside)
        for directory in (self.installer, self.temporary, self.view):
            make_directory(directory, 0o755)


def require_execution(place: Path) -> None:
    """HostError where the programs of an image cannot run as they must, because of how a disk is mounted."""
    flags = os.statvfs(nearest_directory(place)).f_flag
    wrong = [word for word, flag in (("noexec", os.ST_NOEXEC), ("nosuid", os.ST_NOSUID)) if flags & flag]
    if wrong:
        options = ",".join(word.removeprefix("no") for word in wrong)
        message = f"{place} is on a file system mounted {' and '.join(wrong)}, and programs of the image run there"
        raise HostError(message, f"mount -o remount,{options} it, or choose another directory with --output")


@contextlib.contextmanager
def open_workspace(
    held: HeldDirectory, tell: Tell, warn: Tell | None = None, *, keep_failed: bool = False
) -> Iterator[Workspace]:
    """A new work directory below one of ours, removed at the end; leftovers of builds that were killed go first.

    With `keep_failed` it gets another name after an error, which tells it, and nobody but the user removes it.

    What cannot be removed stays, and `warn` (else `tell`) hears of it.

    The lock is held by an open file, so the kernel drops it however this process ends.
    """
    parent, warn = held.path, warn or tell
    with locked(parent / "lock", f"another diskless makes its work directory in {parent}", tell):
        remove_orphans(parent, warn)
        path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        lock = _lock(path)
    assert lock is not None
    try:
        # the group of a directory that hands down its own is nobody's in the image's user namespace
        os.chown(lock, -1, os.getegid())
        disinherit(lock)
        workspace = Workspace(path)
        make_directory(workspace.inside, 0o755)
        make_directory(workspace.artifacts, 0o755)
        yield workspace
    except Exception as error:
        if keep_failed and workspace.tree.is_dir():
            _keep(path, error)
        raise
    finally:
        if path.exists():
            _remove_or_warn(path, warn)
        os.close(lock)


def kept_tree(path: Path) -> Path | None:
    """The tree of a work directory that a failed build left; None where `path` is none.

    InputError for one that another user made: its tree may lead anywhere.
    """
    if not path.name.startswith(_KEPT) or not path.is_dir():
        return None
    with HeldDirectory.at(resolve_given(path)) as held:
        owner = os.fstat(held.handle).st_uid
        if owner not in trusted_users():
            raise InputError(f"{held.path} is {user_name(owner)}'s, and no build's", "copy its tree, if it is trusted")
        if held.is_directory("tree"):
            message = f"{held.path} was left by release 0.1, whose trees belong to root"
            raise InputError(message, f"when it is not needed: {_remove_as_root(path)}")
        return held.path / "inside/tree" if held.is_directory("inside") else None


def remove_work(path: Path) -> None:
    """Removes a work directory, also where what lies in it is of ids that only its user namespace may touch.

    HostError where it is of neither.
    """
    try:
        remove_tree(path)
    except PermissionError as refused:
        try:
            call_inside(every_id(), lambda: remove_tree(path), (path,))
        except (PermissionError, HostError) as error:
            message = f"{path} is left by a build of other ids, and cannot be removed"
            raise HostError(message, _remove_as_root(path), (str(error),)) from refused


def _remove_or_warn(path: Path, warn: Tell) -> bool:
    """Whether it was removed. What stays is in nobody's way, and keeps no build from its end."""
    try:
        remove_work(path)
    except (HostError, OSError) as error:
        why = error.message if isinstance(error, HostError) else f"{error.filename}: {error.strerror}"
        warn(f"a work directory stays: {why}. When the cause is gone: {_remove_as_root(path)}")
        return False
    return True


def _remove_as_root(path: Path) -> str:
    return f"sudo rm -r --one-file-system {shlex.quote(str(path))}"


def _keep(path: Path, error: Exception) -> None:
    kept = path.with_name(_KEPT + path.name.removeprefix(_PREFIX))
    path.rename(kept)
    if isinstance(error, DisklessError):
        shown = shlex.quote(os.path.relpath(kept)) if kept.is_relative_to(Path.cwd()) else shlex.quote(str(kept))
        error.details = (
            *error.details,
            f"kept: {shown}",
            f"  look around in it: diskless shell {shown}",
            f"  remove it:         diskless shell --remove {shown}",
        )


def remove_orphans(parent: Path, warn: Tell) -> list[Path]:
    """Removes the work directories whose builds are gone, and returns them; warns of each that stays."""
    removed = []
    for path in sorted(parent.glob(f"{_PREFIX}*")):
        lock = _lock(path)
        if lock is None:
            continue
        if _remove_or_warn(path, warn):
            removed.append(path)
        os.close(lock)
    return removed


def _lock(path: Path) -> int | None:
    """Locks a work directory; None when its build is alive."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle
