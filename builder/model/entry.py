"""Files and links that a build writes into a tree."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TreeFile:
    """A file of the image: absolute path, content, permission bits, numeric owner."""

    path: str
    content: bytes
    mode: int = 0o644
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class TreeLink:
    """A symbolic link of the image."""

    path: str
    target: str


@dataclass(frozen=True)
class FileBeside:
    """A file beside the recipe that is too large to be held in memory: where, how many bytes, their SHA-256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class TreeCopy:
    """A file of the image that is copied from one beside the recipe."""

    path: str
    source: FileBeside
    mode: int = 0o644
    uid: int = 0
    gid: int = 0


TreeEntry = TreeFile | TreeCopy | TreeLink
