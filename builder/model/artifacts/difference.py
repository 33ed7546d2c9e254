"""What differs between two versions of an image: packages, kernel, sizes, files."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from dataclasses import dataclass

from builder.model.artifacts.index import FileRecord, Index
from builder.model.artifacts.manifest import Manifest, Package


@dataclass(frozen=True)
class PackageChange:
    """A package of both versions. old and new are its versions: alike where it was only built again."""

    name: str
    old: str
    new: str


@dataclass(frozen=True)
class Difference:
    """What became of one version in another.

    kernel: the two releases, where they differ
    size: bytes of all files that `new` has more; transfer: bytes of all artifacts that it has more
    """

    old: str
    new: str
    added: tuple[Package, ...]
    removed: tuple[Package, ...]
    changed: tuple[PackageChange, ...]
    kernel: tuple[str, str] | None
    size: int
    transfer: int

    @property
    def same_packages(self) -> bool:
        """Whether no package differs."""
        return not (self.added or self.removed or self.changed)


@dataclass(frozen=True)
class FileChange:
    """A path of both versions. what: what differs: type, content, link, mode, owner, attributes, time."""

    path: str
    what: tuple[str, ...]
    size: int


@dataclass(frozen=True)
class FileDifference:
    """Paths by what became of them, sorted. size: bytes, of a change bytes more."""

    added: tuple[FileRecord, ...]
    removed: tuple[FileRecord, ...]
    changed: tuple[FileChange, ...]


def compare_manifests(old: Manifest, new: Manifest) -> Difference:
    """What became of `old` in `new`."""
    before, after = _by_name(old.packages, new.packages)
    changes = [
        PackageChange(name, before[name].version, after[name].version)
        for name in sorted(before.keys() & after.keys())
        if (before[name].version, before[name].sha256) != (after[name].version, after[name].sha256)
    ]
    return Difference(
        old=old.version,
        new=new.version,
        added=tuple(after[name] for name in sorted(after.keys() - before.keys())),
        removed=tuple(before[name] for name in sorted(before.keys() - after.keys())),
        changed=tuple(changes),
        kernel=None if old.kernel == new.kernel else (old.kernel, new.kernel),
        size=new.size - old.size,
        transfer=transfer_size(new) - transfer_size(old),
    )


def transfer_size(manifest: Manifest) -> int:
    """Bytes of all artifacts."""
    return sum(artifact.size for artifact in manifest.artifacts.values())


def compare_files(old: Index, new: Index) -> FileDifference:
    """What became of the files of `old` in `new`."""
    before, after = ({file.path: file for file in index.files} for index in (old, new))
    changes = []
    for path in sorted(before.keys() & after.keys()):
        what = _what_differs(before[path], after[path])
        if what:
            changes.append(FileChange(path, what, after[path].size - before[path].size))
    return FileDifference(
        added=tuple(after[path] for path in sorted(after.keys() - before.keys())),
        removed=tuple(before[path] for path in sorted(before.keys() - after.keys())),
        changed=tuple(changes),
    )


def _by_name(*versions: Sequence[Package]) -> list[dict[str, Package]]:
    """Packages by name, and by name:architecture where several architectures of one are installed together."""
    several = {
        name
        for packages in versions
        for name, count in collections.Counter(package.name for package in packages).items()
        if count > 1
    }
    return [
        {f"{p.name}:{p.architecture}" if p.name in several else p.name: p for p in packages} for packages in versions
    ]


def _what_differs(old: FileRecord, new: FileRecord) -> tuple[str, ...]:
    differs = {
        "type": old.type != new.type,
        "content": (old.size, old.sha256) != (new.size, new.sha256),
        "link": old.link != new.link,
        "mode": old.mode != new.mode,
        "owner": (old.uid, old.gid) != (new.uid, new.gid),
        "attributes": old.xattrs != new.xattrs,
        "time": old.mtime != new.mtime,
    }
    return tuple(what for what, is_so in differs.items() if is_so)
