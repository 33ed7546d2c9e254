"""What every installer can do: the contract between the stages and a package manager."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from builder.model.artifacts.lock import Lock, LockedPackage, Origin
from builder.model.recipe import Recipe
from builder.progress.progress import Progress
from builder.system.run import Tool
from builder.system.sandbox.sandbox import Sandbox


@dataclass(frozen=True)
class PackageSources:
    """Where locked package files may come from besides the addresses in the lock.

    directories: of package files; files: those that the recipe itself names
    """

    directories: tuple[Path, ...] = ()
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Job:
    """What an installer works on.

    tree: the root directory to fill, empty at first
    work: a directory of its own inside the build's work directory
    cache: the package cache, shared between builds (an installer locks what it changes there)
    progress: what the user sees of it
    """

    recipe: Recipe
    sandbox: Sandbox
    tree: Path
    work: Path
    cache: Path
    progress: Progress

    @property
    def open_to_packages(self) -> tuple[Path, ...]:
        """What programs of packages may write to: links that they leave elsewhere would be followed by this program."""
        return (self.tree, self.sandbox.temporary)

    def notify(self, text: str) -> None:
        """Tells the user one line."""
        self.progress.note(text)

    def record(self, text: str) -> None:
        """Tells the user one line that also belongs into the build's log."""
        self.sandbox.runner.say(text)
        self.notify(text)

    def warn(self, text: str) -> None:
        """Tells the user one line that is seen also when quiet."""
        self.progress.warn(text)


class Installer(Protocol):
    """A package manager. Methods run in this order; CommandError and HostError say what went wrong and what to do."""

    @staticmethod
    def tools() -> tuple[Tool, ...]:
        """The programs it needs on the build host."""
        ...

    @staticmethod
    def readable(recipe: Recipe) -> tuple[Path, ...]:
        """Host directories it reads besides the system: local mirrors, keyrings."""
        ...

    def __init__(self, job: Job) -> None: ...

    def resolve(self) -> Lock:
        """Asks the mirrors for the exact packages; with network."""
        ...

    def adopt(self, lock: Lock, sources: PackageSources) -> None:
        """Instead of resolve: takes what was locked before, whose checksums are trusted. Nothing is asked of mirrors.

        What `fetch` then lacks comes from `sources` and the addresses of the lock.
        """
        ...

    def lend(self) -> tuple[tuple[LockedPackage, ...], dict[str, Origin]]:
        """After resolve: packages of programs that a build borrows where the host has none, and their origins."""
        ...

    def fetch(self, lock: Lock) -> int:
        """Puts the locked files, verified, where install finds them; returns when the newest was built, seconds."""
        ...

    def install(self, lock: Lock, epoch: int) -> None:
        """Installs exactly the locked packages into the tree, without network and without making an initramfs.

        `epoch` (seconds) is what scripts get as SOURCE_DATE_EPOCH.
        """
        ...

    def inputs(self) -> tuple[object, ...]:
        """Whatever decides what install leaves, besides distribution, locked packages and epoch; of good repr."""
        ...

    def versions(self) -> dict[str, str]:
        """The programs of the host that decide bytes: name -> version."""
        ...

    def loader_files(self, lock: Lock) -> dict[str, bytes]:
        """The boot loaders' files by name in the bundle, from packages that are not installed."""
        ...
