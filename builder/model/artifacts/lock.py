"""The lock: exactly which packages an image is made of."""

from __future__ import annotations

from dataclasses import dataclass


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
class Lock:
    """The packages to install, sorted by name, and those that boot loaders are taken from (never installed)."""

    packages: tuple[LockedPackage, ...]
    loaders: tuple[LockedPackage, ...]

    @property
    def size(self) -> int:
        """Bytes of all package files."""
        return sum(package.size for package in (*self.packages, *self.loaders))
