"""Directories opened step by step below one root, so that no link is ever followed on the way to a name."""

from __future__ import annotations

import os

from builder.errors import AuditError

_HINT = "no build of diskless makes such an archive: find out where it comes from"
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Directories:
    """Finds the open directory that a path lies in. Neighbours share descriptors: ask in the order of a sorted walk.

    A descriptor is valid until the next call. `root` stays the caller's.
    """

    def __init__(self, root: int) -> None:
        self._root = root
        self._names: list[str] = []
        self._handles: list[int] = []
        self._last = ""

    def parent(self, path: str) -> tuple[int, str]:
        """The directory of `path` and its last name; AuditError for a path that leads elsewhere than straight down."""
        name = path[path.rfind("/") + 1 :]
        above = path[: len(path) - len(name)]
        if above != self._last:
            self._enter(path, above)
        if name in ("", ".", "..") or "\0" in name:
            raise AuditError(f"{path!r} is not a path below the root", _HINT)
        return (self._handles[-1] if self._handles else self._root), name

    def close(self) -> None:
        """Closes every directory but the root."""
        while self._handles:
            os.close(self._handles.pop())
        self._names, self._last = [], ""

    def _enter(self, path: str, above: str) -> None:
        directories = above.split("/")[:-1]
        common = 0
        for one, other in zip(self._names, directories, strict=False):
            if one != other:
                break
            common += 1
        while len(self._handles) > common:
            os.close(self._handles.pop())
        del self._names[common:]
        self._last = "".join(f"{name}/" for name in self._names)
        for name in directories[common:]:
            if name in ("", ".", "..") or "\0" in name:
                raise AuditError(f"{path!r} is not a path below the root", _HINT)
            parent = self._handles[-1] if self._handles else self._root
            try:
                self._handles.append(os.open(name, _FLAGS, dir_fd=parent))
            except OSError as error:
                raise AuditError(
                    f"{path!r} would be written through something that is not a directory", _HINT
                ) from error
            self._names.append(name)
        self._last = above
