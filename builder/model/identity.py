"""An identity that a package makes when it is installed, and that each root can make for itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KnownIdentity:
    """Files of one machine, and the commands that make them anew.

    name: a word, in the names of unit and script; title: what people call it
    paths: patterns of its files, in absolute paths
    program: a file of the image without which nothing can make it
    commands: lines of sh(1), run where one of the files that an installation had is missing
    """

    name: str
    title: str
    paths: tuple[str, ...]
    program: str
    commands: str


@dataclass(frozen=True)
class RemovedFile:
    """What was removed, and how it has to be again: mode and owner are the installation's."""

    path: str
    mode: int
    uid: int
    gid: int
