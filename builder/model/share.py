"""Shares: the directories of a store that NFS clients mount roots from.

A file handle names a file by the number of its file system and of its inode, and an NFS server that checks no path
takes every handle of the file system that an export lies on (exports(5): no_subtree_check). So what clients reach
through a share is a whole file system, and each share is one, with nothing else on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from builder.model.recipe import RootMode

RO, RW = "ro", "rw"
# the directories that 0.1 exported, on whatever file system the store lies
OLD_RO, OLD_RW = "versions", "writable"
TOPS = {RootMode.OVERLAY: RO, RootMode.RW: RW}
OLD_TOPS = {RootMode.OVERLAY: OLD_RO, RootMode.RW: OLD_RW}
# of 0.1: part of every handle that its clients hold, and never another share's
_OLD_FSIDS = {OLD_RO: 1, OLD_RW: 2}
_FIRST_FSID = 3


# what a server's first store is called among the files of its programs
FIRST_NAME = "diskless"


@dataclass(frozen=True)
class Share:
    """One exported directory.

    path: below the store: ro, rw, rw/IMAGE for one image alone; versions, writable where 0.1 made the store
    fsid: what file handles name it by: it never changes while a client may hold one
    holds: whether it is a file system of its own, so that clients reach nothing beside it
    """

    path: str
    fsid: int
    holds: bool = True

    @property
    def writable(self) -> bool:
        """Whether clients write to it."""
        return self.path.split("/")[0] in (RW, OLD_RW)

    @property
    def image(self) -> str | None:
        """The only image whose roots are there; None for one that several share."""
        return self.path.partition("/")[2] or None


@dataclass(frozen=True)
class ServedStore:
    """A store as the texts of its servers name it.

    path: absolute, of plain characters (STORE_PATH)
    name: of its files, tags and units among those of a server's programs: no other store there has it
    loaders: the loaders' own files below its TFTP root; None: before its first deploy, when nobody knows
    tftp_only: those among them that cannot go on where firmware fetched them over HTTP
    """

    path: str
    shares: tuple[Share, ...]
    loaders: tuple[str, ...] | None = None
    tftp_only: tuple[str, ...] = ()
    name: str = FIRST_NAME


OLD_SHARES = tuple(Share(path, fsid, holds=False) for path, fsid in _OLD_FSIDS.items())


def next_fsid(taken: Mapping[str, int]) -> int:
    """A number that no share has or had: of those that were given, none is ever given again."""
    return max(taken.values(), default=_FIRST_FSID - 1) + 1


def share_of(image: str, mode: RootMode, paths: Sequence[str]) -> str | None:
    """The share that holds the roots of an image, of those that a store has: its own before the common one."""
    own = f"{TOPS[mode]}/{image}"
    return next((path for path in (own, TOPS[mode]) if path in paths), None)
