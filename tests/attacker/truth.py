"""What an honest client gets, in one version of NFS: everything else that a handle leads to is a breach."""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.attacker.dialect import DIRECTORY, LINK, REGULAR, Dialect, Seen, Way
from tests.attacker.nfs4 import Nfs4
from tests.attacker.plan import FORBIDDEN, Exposed

KINDS = {REGULAR: "file", DIRECTORY: "directory", LINK: "link"}
OWN = "attacker"  # the directory of the export to be written to in which everything is allowed
_PSEUDO = Exposed("", "", 0, writable=False)


@dataclass(frozen=True)
class Honest:
    """An object of an export, and what it holds: a file's or link's content, a directory's names."""

    export: Exposed
    path: str
    kind: int
    content: object


def identity(seen: Seen) -> tuple[tuple[int, int], int]:
    """What a client tells files apart by."""
    return seen.fsid, seen.fileid


class Truth:
    """Walks through all exports as clients do. `handles` are those that the server gave."""

    def __init__(self, dialect: Dialect, exports: Sequence[Exposed]) -> None:
        self.dialect = dialect
        self.handles: list[bytes] = []
        self.objects: dict[tuple[tuple[int, int], int], Honest] = {}
        if isinstance(dialect, Nfs4):
            self._walk(dialect.pseudo_root(), _PSEUDO, "", stop=_ways(exports))
        for export in exports:
            if export.mine:
                self._walk(dialect.root(export.path), export, "")

    def through(self, dialect: Dialect) -> Truth:
        """The same for another user of the same version, to whom the server may give less, and never more."""
        other = copy.copy(self)
        other.dialect = dialect
        return other

    def own(self) -> bytes:
        """The handle of the directory where the attacker may do anything; where there is none, an export's top."""
        exports = {honest.export for honest in self.objects.values() if honest.export.path}
        first = max(exports, key=lambda export: (export.writable, export.path))
        way = Way(self.dialect.root(first.path), (OWN,) if first.writable else ())
        return self.dialect.handle_of(way)

    def listing(self) -> list[str]:
        """Every object, as `PATH kind`."""
        found = [
            honest for honest in self.objects.values() if not honest.path.startswith(f"{honest.export.path}/{OWN}/")
        ]
        return sorted(f"{honest.path or '/'} {KINDS.get(honest.kind, 'other')}" for honest in found)

    def given_away(self) -> list[str]:
        """What an honest client gets although no client may."""
        files = [(honest.path, honest.content) for honest in self.objects.values()]
        return sorted(path for path, content in files if isinstance(content, bytes) and content.startswith(FORBIDDEN))

    def content_of(self, way: Way, kind: int) -> object:
        """What an object holds, to be compared; RefusedError."""
        if kind == REGULAR:
            return self.dialect.read(way)
        if kind == LINK:
            return self.dialect.target(way)
        return tuple(sorted(self.dialect.names(way))) if kind == DIRECTORY else None

    def twins(self, seen: Seen, content: object, refused: bool) -> list[Honest]:
        """Honest objects that look the same but for the file system's name, or are reached through another export.

        The kernel's server names file systems by their devices too, in handles that nobody is given. What it refuses to
        say of an object tells nothing apart, and gives nothing away.
        """
        found = [one for (_, fileid), one in self.objects.items() if (fileid, one.kind) == (seen.fileid, seen.kind)]
        return [one for one in found if refused or (content is not None and one.content == content)]

    def _walk(self, handle: bytes, export: Exposed, path: str, stop: Sequence[str] | None = None) -> None:
        way = Way(handle)
        seen = self.dialect.look(way)
        content = self.content_of(way, seen.kind)
        free = path.split("/")[1:2] == [OWN]  # it changes as the attacker likes
        self.objects[identity(seen)] = Honest(export, f"{export.path}{path}", seen.kind, None if free else content)
        self.handles.append(handle)
        if seen.kind == DIRECTORY and isinstance(content, tuple):
            for name in content:
                below = f"{path}/{name}"
                if stop is None or below in stop:
                    self._walk(self.dialect.handle_of(way.follow(str(name))), export, below, stop)


def _ways(exports: Sequence[Exposed]) -> list[str]:
    """The directories on the way to exports, these left out."""
    return [str(above) for export in exports for above in Path(export.path).parents]


def snapshot(tops: Sequence[str], *, skip: Sequence[str]) -> dict[str, tuple[object, ...]]:
    """Whatever a write would change below some directories of the server, of one file system each."""
    found: dict[str, tuple[object, ...]] = {}
    for top in tops:
        for path in _below(top, os.lstat(top).st_dev, skip):
            info = os.lstat(path)
            head = (
                info.st_mode,
                info.st_uid,
                info.st_gid,
                info.st_size,
                info.st_nlink,
                info.st_mtime_ns,
                info.st_ctime_ns,
            )
            found[path] = (*head, _digest(path) if _is_small(info) else "")
    return found


def _below(path: str, device: int, skip: Sequence[str]) -> Iterator[str]:
    if path in skip:
        return
    yield path
    with os.scandir(path) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False):
                if entry.stat(follow_symlinks=False).st_dev == device:
                    yield from _below(entry.path, device, skip)
            elif entry.path not in skip:
                yield entry.path


def _is_small(info: os.stat_result) -> bool:
    return info.st_mode & 0o170000 == 0o100000 and info.st_size < 1 << 16


def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
