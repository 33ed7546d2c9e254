"""Room that is held for the commands that make room: rollback, refresh and prune write a few files each.

`boot/.reserve` lies on the file system that menus are written to. It has one file that takes bytes, empty ones that
take inodes, and on btrfs attributes, which take what that file system keeps for names and inodes beside the data. A
command that meets a full disk lets all of it go and begins again, which is no other thing than a command after one
that was stopped; then as much is held again as there is room for.
"""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from builder.errors import AuditError
from builder.store.filesystem import SPARE, settle
from builder.store.generations import current_number
from builder.store.layout import Store
from builder.store.recovery import drop_superseded
from builder.system.files import FULL, as_room_allows, filesystem_of, make_directory
from builder.system.guarded.removal import remove_tree

RESERVE = ".reserve"  # below boot/
T = TypeVar("T")
_BLOCK = 4096
# beside two generations of the size of the active one; XFS asks for 200 KiB before it makes a directory
_BYTES, _FILES = 1 << 20, 16
_FEW = 100  # inodes
_SHARE = 8  # no more than one of so many free bytes and inodes is taken
# btrfs asks for 2.8 MB of free metadata before it gives a file another name: 11 items, each of 16 nodes of 16 KiB
_ATTRIBUTES, _ATTRIBUTE_BYTES = 512, 15_000


@dataclass(frozen=True)
class _Size:
    """bytes: of the one large file; files: how many empty ones; attributes: how many, on the empty ones."""

    bytes: int
    files: int
    attributes: int

    @property
    def room(self) -> int:
        """All bytes that it takes."""
        return self.bytes + self.attributes * _ATTRIBUTE_BYTES


_NOTHING = _Size(0, 0, 0)


class Reserve:
    """What is held in a store; only who has its lock may change it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._place = store.boot / RESERVE

    def keep(self) -> None:
        """Holds what is missing, if that is little beside what is free: a nearly full disk is left to others."""
        missing = self._missing()
        if missing != _NOTHING and self._fits(missing):
            self.take_all()

    def take_all(self) -> None:
        """Holds what is missing, or as much of it as there is."""
        with as_room_allows():
            make_directory(self._place, 0o700)
            self._take_files()
            self._take_bytes()

    def let_go(self) -> bool:
        """Frees all of it; False where there was nothing."""
        if not self._place.is_dir():
            return False
        held = any(self._place.iterdir())
        with as_room_allows():
            remove_tree(self._place)
        return held

    @property
    def lacks_room(self) -> bool:
        """Whether the disk is nearly full: no deploy would begin, or not all is held that should be, nor will be."""
        info = os.statvfs(self._store.boot)
        few = info.f_bavail * info.f_frsize < SPARE or (bool(info.f_files) and info.f_favail < _FEW)
        return few or not self._fits(self._missing())

    def _fits(self, missing: _Size) -> bool:
        info = os.statvfs(self._store.boot)
        free = info.f_bavail * info.f_frsize // _SHARE
        inodes = info.f_favail // _SHARE if info.f_files else missing.files  # btrfs counts none
        return missing.room <= free and missing.files <= inodes

    def _wanted(self) -> _Size:
        files, blocks = _FILES, 0
        copied = self._store.boot.stat().st_dev != self._store.versions.stat().st_dev
        with contextlib.suppress(AuditError):  # verify names it
            generation = self._store.generations / f"{current_number(self._store):06}"
            for path in generation.rglob("*"):
                files += 2
                info = path.lstat()
                if copied or info.st_nlink == 1 or path.is_dir():  # else a loader, which is a name of its version's
                    blocks += 2 * -(-info.st_size // _BLOCK)
        on_btrfs = filesystem_of(self._store.boot) == "btrfs"
        return _Size(_BYTES + blocks * _BLOCK, files, _ATTRIBUTES if on_btrfs else 0)

    def _missing(self) -> _Size:
        wanted = self._wanted()
        held = {path.name: path for path in self._place.iterdir()} if self._place.is_dir() else {}
        large = held.pop("bytes", None)
        size = 0 if large is None else large.stat().st_size
        attributes = sum(map(_attributes, held.values())) if wanted.attributes else 0
        return _Size(
            wanted.bytes if size < wanted.bytes else 0,
            max(0, wanted.files - len(held)),
            max(0, wanted.attributes - attributes),
        )

    def _take_files(self) -> None:
        wanted = self._wanted()
        each = -(-wanted.attributes // wanted.files)
        for number in range(wanted.files):
            path = self._place / f"inode-{number:05}"
            if not path.exists():
                path.touch(0o600)
            for attribute in range(_attributes(path), each):  # none where they are not wanted
                # bytes that do not compress
                os.setxattr(path, f"user.{attribute}", secrets.token_bytes(_ATTRIBUTE_BYTES))

    def _take_bytes(self) -> None:
        """In one piece, or half of it, or a quarter: what is there is too small, and a larger one takes its place."""
        size = self._missing().bytes
        path = self._place / "bytes"
        while size >= _BLOCK:
            path.unlink(missing_ok=True)
            try:
                with path.open("xb") as file:
                    os.posix_fallocate(file.fileno(), 0, size)
                return
            except OSError as error:
                if error.errno not in FULL:
                    raise
            size //= 2


def _attributes(path: Path) -> int:
    return sum(name.startswith("user.") for name in os.listxattr(path))


def with_room(store: Store, attempt: Callable[[bool], T], note: Callable[[str], None]) -> T:
    """What `attempt` gives; where the disk is full, room is made and it begins anew, as after a stop.

    First with the reserve, then without the generations that say nothing of their own. It is told whether this is its
    last try. OSError, of the last try, where there is no room whatever is done.
    """
    reserve = Reserve(store)
    ways: list[Callable[[], bool]] = [reserve.let_go, functools.partial(drop_superseded, store), lambda: True]
    try:
        while True:
            try:
                return attempt(not ways)
            except OSError as error:
                if error.errno not in FULL or not ways:
                    raise
                note(f"{error.filename or store.boot}: {error.strerror}: taking what is held in reserve")
            while not ways.pop(0)():
                pass
            settle(store.boot)
    finally:
        if len(ways) < 3:
            reserve.take_all()
