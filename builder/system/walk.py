"""Walking below a directory that others write to meanwhile: no link is followed, and no depth is too much."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass

from builder.system.guarded.held import HeldDirectory

_DEEPEST = 300  # levels that are entered: each costs an open file, of which a process may have 1,024
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass
class _Level:
    """An open directory: its path ending in / ("" for the root), its directories that are not entered yet."""

    path: str
    handle: int
    directories: list[str]


def walk(root: HeldDirectory) -> Iterator[tuple[str, int, str]]:
    """Every path below a root with an open directory and its name there, valid until the next one.

    The root comes first, as "."; directories more than 300 levels down are named, but not entered. What is removed
    meanwhile is passed over.
    """
    levels: list[_Level] = []
    try:
        if not _enter(levels, "", ".", root.handle):
            return
        yield ".", levels[0].handle, "."
        yield from _names(levels[0])
        while levels:
            level = levels[-1]
            if not level.directories:
                os.close(levels.pop().handle)
                continue
            name = level.directories.pop()
            if len(levels) < _DEEPEST and _enter(levels, f"{level.path}{name}/", name, level.handle):
                yield from _names(levels[-1])
    finally:
        for level in levels:
            os.close(level.handle)


def _enter(levels: list[_Level], path: str, name: str, above: int) -> bool:
    try:
        handle = os.open(name, _FLAGS, dir_fd=above)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        return False
    levels.append(_Level(path, handle, []))
    return True


def _names(level: _Level) -> Iterator[tuple[str, int, str]]:
    with os.scandir(level.handle) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                level.directories.append(entry.name)
            yield f"{level.path}{entry.name}", level.handle, entry.name
