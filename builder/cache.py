"""Trees as the package manager left them, kept by what decides them: a build that asks for the same takes a copy.

An entry is a version's archive and index, so that every byte is checked when it is taken. Entries that were not used
for long go when they are too many; a build that reads one, or writes one, keeps others from removing it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shlex
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import builder
from builder.archive.unpack import unpack
from builder.archive.writer import scan_tree, write_archive, write_index
from builder.errors import AuditError
from builder.model.artifacts.manifest import INDEX, ROOTFS
from builder.system.files import filesystem_of, new_directory
from builder.system.guarded.held import HeldDirectory
from builder.system.guarded.owners import trusted_users
from builder.system.guarded.private import Tell, outer_directory, own_directory
from builder.system.guarded.removal import remove_tree
from builder.system.userns.ids import IdMap
from builder.system.workspace import open_workspace

PACKAGES, TREES, TRANSFERS = "packages", "trees", "transfers"
_PARTS = {PACKAGES, TREES, TRANSFERS, "boot"}  # the first two were there in 0.1
_IDS = "ids-"
LIMIT = 3 << 30  # bytes of all entries: some dozen trees of usual size


def hold_cache(cache: Path, tell: Tell) -> HeldDirectory:
    """The directory of all that is kept, --cache."""
    return outer_directory(cache, tell, _is_cache)


def hold_build_cache(cache: Path, ids: IdMap, tell: Tell) -> HeldDirectory:
    """The directory of what builds keep, for one map of ids: what the one owns the other could not read."""
    with hold_cache(cache, tell) as held:
        old = [shlex.quote(str(held.path / name)) for name in (PACKAGES, TREES) if held.is_directory(name)]
        if old:
            tell(f"release 0.1 kept packages as root's, which no build reads any more: sudo rm -r {' '.join(old)}")
        return own_directory(held, f"{_IDS}{ids.name}", tell, 0o700)


def _is_cache(held: HeldDirectory) -> bool:
    return all(name in _PARTS or name.startswith(_IDS) for name in held.names())


class TreeCache:
    """The trees below a cache, for builds alone: nothing was scrubbed from them, keys are in them.

    limit: bytes that all entries may take together; the newest stays in any case
    """

    def __init__(self, cache: Path, tell: Tell, limit: int = LIMIT) -> None:
        self._tell = tell
        self._directory = cache / TREES
        self._limit = limit

    def take(self, key: str, tree: Path, on_file: Callable[[str], None]) -> bool:
        """Fills the new directory `tree` with what was kept under `key`; False where there is no such entry.

        An entry that is damaged, or that others than root could have written, is none.
        """
        entry = self._directory / key
        with _held(entry, fcntl.LOCK_SH | fcntl.LOCK_NB) as held:  # what another build removes is not here
            if not held or not self._is_ours() or not _is_ours(entry):
                return False
            new_directory(tree, 0o755)
            with contextlib.suppress(AuditError, FileNotFoundError):
                unpack(entry / ROOTFS, entry / INDEX, tree, on_file)
                os.utime(entry)
                return True
        remove_tree(tree)
        self._remove(entry)
        return False

    def keep(self, key: str, tree: Path, epoch: int, on_file: Callable[[str], None]) -> None:
        """Keeps a copy of `tree` under `key`; times after `epoch` become it, as in every image.

        Not where others than root may write: nothing would ever be taken from there.

        Raises AuditError for a tree that no image can be made of, OSError or HostError where there is no room.
        """
        with HeldDirectory.at(self._directory.parent.resolve()) as cache:
            trees = own_directory(cache, TREES, self._tell, 0o700)
        if not self._is_ours():
            return
        with open_workspace(trees, self._tell) as workspace:
            index = write_archive(scan_tree(tree, epoch), workspace.artifacts / ROOTFS, on_file)
            write_index(index, workspace.artifacts / INDEX)
            workspace.artifacts.chmod(0o700)
            entry = self._directory / key
            self._remove(entry)
            if not entry.exists():  # what another build reads just now is as good
                workspace.artifacts.rename(entry)
        self._make_room(spare=entry)

    def _is_ours(self) -> bool:
        return _is_ours(self._directory) and _is_ours(self._directory.parent)

    def _make_room(self, spare: Path) -> None:
        """Removes what was not used for longest until the rest fits; never what another build holds."""
        entries = [path for path in self._directory.iterdir() if len(path.name) == len(spare.name) and path != spare]
        entries.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        used = _size(spare)
        for entry in entries:
            used += _size(entry)
            if used > self._limit:
                self._remove(entry)

    @staticmethod
    def _remove(entry: Path) -> None:
        """Unless another build holds it."""
        with _held(entry, fcntl.LOCK_EX | fcntl.LOCK_NB) as held:
            if held:
                remove_tree(entry)


def made_under(place: Path) -> tuple[str, str, str]:
    """What a tree that is made in `place` may depend on without being asked: its file system, the host's kernel.

    Programs of packages see both: what they made of one is no answer for a build under another.
    """
    host = os.uname()
    return filesystem_of(place), host.machine, host.release


def key_of(*parts: object) -> str:
    """A name for what decides a tree: the parts' repr, and this program itself."""
    digest = hashlib.sha256()
    for source in sorted(Path(builder.__path__[0]).rglob("*.py")):
        digest.update(source.read_bytes())
    digest.update(repr(parts).encode())
    return digest.hexdigest()


@contextlib.contextmanager
def _held(entry: Path, how: int) -> Iterator[bool]:
    """Whether the entry is there and could be locked."""
    try:
        handle = os.open(entry, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield False
        return
    try:
        fcntl.flock(handle, how)
        yield entry.exists()
    except BlockingIOError:
        yield False
    finally:
        os.close(handle)


def _is_ours(path: Path) -> bool:
    """Whether only root, or whoever runs the build, can have written there."""
    info = path.stat()
    return info.st_uid in trusted_users() and not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _size(entry: Path) -> int:
    return sum(path.stat().st_size for path in entry.iterdir())
