"""Comparing a root directory with its index: damage in a read-only one, the clients' own work in a read-write one."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from builder.model.artifacts.index import DIRECTORY, FILE, HARDLINK, SYMLINK, FileRecord, Index
from builder.model.text.escapes import escaped
from builder.store.arrival.reuse import attributes
from builder.system.files import open_file, sha256_of_first
from builder.system.guarded.held import HeldDirectory
from builder.system.walk import walk

_KINDS = {DIRECTORY: stat.S_IFDIR, FILE: stat.S_IFREG, SYMLINK: stat.S_IFLNK}
# a client removed it, its attribute, or put something else there just now
_MEANWHILE = (errno.ENOENT, errno.ENODATA, errno.ELOOP, errno.ENOTDIR, errno.EINVAL, errno.ESTALE)


@dataclass(frozen=True)
class Differences:
    """Paths below a root, sorted; `changed` says in what."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def lines(self) -> list[str]:
        """One line a path: + added, - removed, and what is different."""
        listed = [(path, "+", "") for path in self.added]
        listed += [(path, "-", "") for path in self.removed]
        listed += [(path, "~", f": {what}") for path, what in self.changed]
        return [f"{sign} /{escaped(path)}{what}" for path, sign, what in sorted(listed)]


def compare_tree(
    root: HeldDirectory, index: Index, *, deep: bool = False, times_of_directories: bool = True
) -> Differences:
    """What is not as the index says. `deep` reads every file; without it size, time, owner and mode must do.

    Nothing is followed: a link is compared as a link.
    """
    records = {record.path: record for record in index.files}
    changed, seen = [], set()
    added = []
    for path, directory, name in walk(root):
        record = records.get(path)
        if record is None:
            added.append(path)
            continue
        file = records[record.link] if record.type == HARDLINK else record
        try:
            what = list(_differences(directory, name, record, file, deep, times_of_directories))
        except OSError as error:
            if error.errno not in _MEANWHILE:
                raise
            continue
        seen.add(path)
        if what:
            changed.append((path, ", ".join(what)))
    removed = [path for path in records if path not in seen]
    return Differences(tuple(sorted(added)), tuple(sorted(removed)), tuple(sorted(changed)))


def _differences(
    directory: int, name: str, record: FileRecord, file: FileRecord, deep: bool, times: bool
) -> Iterator[str]:
    info = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if stat.S_IFMT(info.st_mode) != _KINDS[file.type]:
        yield "another kind of file"
        return
    if file.type != SYMLINK and stat.S_IMODE(info.st_mode) != file.mode:
        yield f"mode {stat.S_IMODE(info.st_mode):04o}, was {file.mode:04o}"
    if (info.st_uid, info.st_gid) != (file.uid, file.gid):
        yield f"owner {info.st_uid}:{info.st_gid}, was {file.uid}:{file.gid}"
    if file.type == FILE and info.st_size != file.size:
        yield f"{info.st_size} bytes, were {file.size}"
    if info.st_mtime_ns != file.mtime * 10**9 and (times or file.type != DIRECTORY):
        yield "time"
    if file.type == SYMLINK and os.readlink(name, dir_fd=directory) != file.link:
        yield "where it leads"
    if attributes(directory, name, file) != file.xattrs:
        yield "attributes"
    # of another size it has another content, and may have no end
    if deep and file.type == FILE and info.st_size == file.size:
        with open(open_file(name, directory), "rb") as content:
            if sha256_of_first(content, file.size) != file.sha256:
                yield "content"


def shown(lines: Sequence[str], most: int = 20) -> list[str]:
    """The first lines, and how many more there are."""
    more = len(lines) - most
    return [*lines[:most], *([f"... and {more} more"] if more > 0 else [])]
