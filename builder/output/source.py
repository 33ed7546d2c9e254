"""Where a version's artifacts are read from: a directory here; transports add registries and web servers.

A source promises nothing about what it gives: whoever reads checks every byte against manifest and index.
"""

from __future__ import annotations

import abc
import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from builder.errors import AuditError, TransferError
from builder.model.artifacts.index import Frame
from builder.model.artifacts.manifest import ROOTFS, Artifact
from builder.output.given import copy_given, open_given
from builder.output.versions import verify_artifacts, verify_sizes
from builder.system.guarded.held import HeldDirectory


class MissingPartsError(TransferError):
    """What a sealed source was asked for and has not at hand: whole artifacts, frames of the archive."""

    exit_code = TransferError.exit_code

    def __init__(self, name: str, artifacts: Sequence[str], frames: Sequence[Frame]) -> None:
        super().__init__(f"{name}: a part that was at hand has gone again and again", "deploy again")
        self.artifacts = artifacts
        self.frames = frames


class Source(abc.ABC):
    """One version of an image, wherever it lies. Errors are DisklessErrors of its kind."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """What messages call it."""

    @abc.abstractmethod
    def fetch(self, artifact: str, target: Path) -> None:
        """Writes a whole artifact (INDEX, BUNDLE or ROOTFS) to the file `target`."""

    @abc.abstractmethod
    def frames(self, frames: Sequence[Frame]) -> Iterator[bytes]:
        """The compressed bytes of some frames of ROOTFS, in the order given; too few bytes where it ends early."""

    def prepare(self, artifacts: Sequence[str], frames: Sequence[Frame]) -> None:  # noqa: B027 - nothing to do is a right answer
        """Brings what will be asked for to where nothing has to be waited for; nothing where all of it is there."""

    @contextlib.contextmanager
    def sealed(self) -> Iterator[None]:
        """Within it nothing is waited for: MissingPartsError for what is not at hand."""
        yield

    @contextlib.contextmanager
    def finished(self) -> Iterator[None]:
        """Closes it after the work within, also where that found something else than was promised: nothing is kept."""
        try:
            yield
        except AuditError:
            self.close()
            raise
        self.close()

    def verify(self, artifacts: Mapping[str, Artifact]) -> None:  # noqa: B027 - nothing to do is a right answer
        """AuditError when one of these that lies at hand whole is not what the manifest says."""

    def verify_sizes(self, artifacts: Mapping[str, Artifact]) -> None:  # noqa: B027 - as above
        """As `verify`, by size only: for artifacts whose content is checked while it is read."""

    @property
    def is_remote(self) -> bool:
        """Whether what it gives comes over a network."""
        return False

    @property
    def received(self) -> int:
        """Bytes that came over a network so far."""
        return 0

    def close(self) -> None:  # noqa: B027 - not every source has something to do
        """To be called when everything is in place: what was kept for another attempt is not needed any more."""


class DirectorySource(Source):
    """A version directory, OUTPUT/IMAGE/VERSION; `rootfs` is its archive's name."""

    def __init__(self, held: HeldDirectory, rootfs: str = ROOTFS) -> None:
        self.held = held
        self.rootfs = rootfs

    @property
    def name(self) -> str:
        """The path of its archive."""
        return str(self.held.path / self.rootfs)

    def fetch(self, artifact: str, target: Path) -> None:
        """A copy."""
        copy_given(self.held, artifact, target)

    def frames(self, frames: Sequence[Frame]) -> Iterator[bytes]:
        """Read at their offsets."""
        with open_given(self.held, self.rootfs) as file:
            try:
                for frame in frames:
                    yield os.pread(file.fileno(), frame.size, frame.offset)
            except OSError as error:
                raise AuditError(f"{self.name}: {error.strerror}", _AGAIN) from error

    def verify(self, artifacts: Mapping[str, Artifact]) -> None:
        """Byte for byte."""
        verify_artifacts(self.held, artifacts)

    def verify_sizes(self, artifacts: Mapping[str, Artifact]) -> None:
        """All of them."""
        verify_sizes(self.held, artifacts)


_AGAIN = "copy the version again, whole, or build it again"
