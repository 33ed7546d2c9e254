"""Where a version's artifacts are read from: a directory here; transports add registries and web servers.

A source promises nothing about what it gives: whoever reads checks every byte against manifest and index.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence
from pathlib import Path

from builder.errors import AuditError
from builder.model.index import Frame
from builder.model.manifest import MANIFEST, ROOTFS, Manifest
from builder.output.versions import verify_artifacts, verify_sizes

SIGNATURE = f"{MANIFEST}.sig"


class Source(abc.ABC):
    """One version of an image, wherever it lies. Errors are DisklessErrors of its kind."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """What messages call it."""

    @abc.abstractmethod
    def manifest(self) -> bytes:
        """The bytes of manifest.json."""

    @abc.abstractmethod
    def signature(self) -> bytes | None:
        """The bytes of manifest.json.sig, None where nobody signed."""

    @abc.abstractmethod
    def fetch(self, artifact: str, target: Path) -> None:
        """Writes a whole artifact (INDEX, BUNDLE or ROOTFS) to the file `target`."""

    @abc.abstractmethod
    def frames(self, frames: Sequence[Frame]) -> Iterator[bytes]:
        """The compressed bytes of some frames of ROOTFS, in the order given; too few bytes where it ends early."""

    def verify(self, manifest: Manifest) -> None:  # noqa: B027 - nothing to do is a right answer
        """AuditError when an artifact that lies at hand whole is not what the manifest says."""

    def verify_sizes(self, manifest: Manifest) -> None:  # noqa: B027 - as above
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
    """A version directory, OUTPUT/IMAGE/VERSION."""

    def __init__(self, directory: Path, rootfs: str = ROOTFS) -> None:
        self.directory = directory
        self.archive = directory / rootfs

    @property
    def name(self) -> str:
        """The path of its archive."""
        return str(self.archive)

    def manifest(self) -> bytes:
        """AuditError where it cannot be read."""
        return self._read(MANIFEST)

    def signature(self) -> bytes | None:
        """The file beside the manifest."""
        return self._read(SIGNATURE) if (self.directory / SIGNATURE).exists() else None

    def fetch(self, artifact: str, target: Path) -> None:
        """A copy."""
        target.write_bytes(self._read(artifact))

    def frames(self, frames: Sequence[Frame]) -> Iterator[bytes]:
        """Read at their offsets."""
        try:
            with self.archive.open("rb", buffering=0) as file:
                for frame in frames:
                    file.seek(frame.offset)
                    yield file.read(frame.size)
        except OSError as error:
            raise AuditError(f"{self.archive}: {error.strerror}", _AGAIN) from error

    def verify(self, manifest: Manifest) -> None:
        """Every artifact, byte for byte."""
        verify_artifacts(self.directory, manifest)

    def verify_sizes(self, manifest: Manifest) -> None:
        """Every artifact."""
        verify_sizes(self.directory, manifest)

    def _read(self, name: str) -> bytes:
        path = self.directory / name
        try:
            return path.read_bytes()
        except OSError as error:
            raise AuditError(f"{path}: {error.strerror}", _AGAIN) from error


_AGAIN = "copy the version again, whole, or build it again"
