"""The lock: exactly which packages an image is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, order=True)
class LockedPackage:
    """One package file of a mirror: its name in the cache, bytes and SHA-256; `record` is the mirror's entry for it."""

    name: str
    version: str
    architecture: str
    filename: str
    size: int
    sha256: str
    record: str


@dataclass(frozen=True)
class Origin:
    """Where a package file was to be had when it was resolved.

    urls: its addresses, in the order of the mirrors; none for a file that the recipe itself names
    repository: what pacman calls it, "" for apt; signed: whether packages of that one have to be
    """

    urls: tuple[str, ...] = ()
    repository: str = ""
    signed: bool = False


@dataclass(frozen=True)
class Lock:
    """The packages to install, sorted by name, and those that boot loaders are taken from (never installed).

    origins: by the file's name
    recommended: those that nobody asked for, and none depends on
    lent: packages whose programs a build runs where the host has none of its own; in locks that are written down
    """

    packages: tuple[LockedPackage, ...]
    loaders: tuple[LockedPackage, ...]
    origins: Mapping[str, Origin] = field(default_factory=dict)
    recommended: tuple[str, ...] = ()
    lent: tuple[LockedPackage, ...] = ()

    @property
    def files(self) -> tuple[LockedPackage, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys((*self.packages, *self.loaders, *self.lent)))

    @property
    def size(self) -> int:
        """Bytes of all package files."""
        return sum(package.size for package in self.files)
