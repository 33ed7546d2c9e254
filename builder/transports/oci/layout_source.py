"""What lies in an OCI layout directory: its index, its blobs, and a version made up of some of them.

Source: the OCI image specification 1.1, image-layout.md. Whoever made a layout is not believed: no link is followed,
and every blob is what its digest says or an error.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from builder.errors import AuditError
from builder.model.artifacts.index import Frame
from builder.model.artifacts.manifest import ROOTFS, Artifact
from builder.model.typed import parse_json
from builder.output.source import Source
from builder.system.guarded.held import HeldDirectory
from builder.transports.kept import disk_full
from builder.transports.oci.document import Layer
from builder.transports.ranges import Extent, plan_runs

LAYOUT_FILE, INDEX_FILE = "oci-layout", "index.json"
REF_NAME = "org.opencontainers.image.ref.name"
COPY_AGAIN = "copy the layout again, whole, or upload the version again"
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_LARGEST_DOCUMENT = 4 << 20  # bytes
_BLOCK = 1 << 20


class LayoutBlobs:
    """What a layout has: its index, and blobs by their SHA-256 in hexadecimal. Whoever made it is not believed."""

    def __init__(self, held: HeldDirectory) -> None:
        self.held = held
        self.index = self._read_index()

    def open(self, sha256: str, size: int | None = None) -> BinaryIO:
        """AuditError where there is no such plain file, or one of another size."""
        path = self.held.path / "blobs/sha256" / sha256
        try:
            with self.held.enter("blobs", "sha256") as directory:
                file = directory.open(sha256)
        except OSError as error:
            raise AuditError(f"{path}: {error.strerror}", COPY_AGAIN) from error
        there = os.fstat(file.fileno()).st_size
        if size is not None and there != size:
            file.close()
            raise AuditError(f"{path} has {there} bytes, not {size}", COPY_AGAIN)
        return file

    def read(self, digest: str, most: int = _LARGEST_DOCUMENT) -> bytes:
        """A small blob that is what its digest says; AuditError for any other."""
        sha256 = digest.removeprefix("sha256:")
        with self.open(sha256) as file:
            data = file.read(most + 1)
        if len(data) > most or hashlib.sha256(data).hexdigest() != sha256:
            raise AuditError(f"{self.held.path}: the blob {digest} is not what its digest says", COPY_AGAIN)
        return data

    def digest_of(self, tag: str) -> str | None:
        """What a tag means; the last one counts, where a program left several."""
        found = [row["digest"] for row in self.rows() if tag_of(row) == tag]
        return found[-1] if found else None

    def tags(self) -> tuple[str, ...]:
        """Sorted."""
        return tuple(sorted({tag for tag in map(tag_of, self.rows()) if tag}))

    def rows(self) -> list[dict[str, Any]]:
        """The descriptors of the index that name a digest which can be a file's name."""
        rows = self.index["manifests"]
        return [row for row in rows if isinstance(row, dict) and _DIGEST.fullmatch(str(row.get("digest")))]

    def reachable(self) -> set[str]:
        """The SHA-256 of every blob that something in the index needs."""
        found: set[str] = set()
        pending = [str(row["digest"]) for row in self.rows()]
        while pending:
            digest = pending.pop()
            if digest.removeprefix("sha256:") in found:
                continue
            found.add(digest.removeprefix("sha256:"))
            try:
                text = self.read(digest).decode("utf-8", "replace")
            except AuditError:  # a program may leave out what it did not want
                continue
            named = _DIGEST.findall(text)
            if '"manifests"' in text:
                pending += [f"sha256:{one}" for one in named]
            else:
                found.update(named)
        return found

    def _read_index(self) -> dict[str, Any]:
        try:
            with self.held.open(LAYOUT_FILE), self.held.open(INDEX_FILE) as file:
                data = file.read(_LARGEST_DOCUMENT)
            index: dict[str, Any] = parse_json(data)
            if not isinstance(index["manifests"], list):
                raise ValueError("it lists no manifests")
        except (ValueError, KeyError, TypeError) as error:
            raise AuditError(f"{self.held.path / INDEX_FILE} cannot be read: {error}", COPY_AGAIN) from error
        return index


def tag_of(row: Mapping[str, Any]) -> str | None:
    """The name that a descriptor of an index has; None where it has none."""
    annotations = row.get("annotations")
    tag = annotations.get(REF_NAME) if isinstance(annotations, dict) else None
    return tag if isinstance(tag, str) else None


class LayoutSource(Source):
    """A version in an OCI layout."""

    def __init__(self, name: str, blobs: LayoutBlobs, parts: Mapping[str, Sequence[Layer]]) -> None:
        self._name = name
        self._blobs = blobs
        self._parts = parts

    @property
    def name(self) -> str:
        """The reference it was found by."""
        return self._name

    def fetch(self, artifact: str, target: Path) -> None:
        """A copy, every blob checked against its digest."""
        with disk_full(target), target.open("wb") as file:
            for data in self._read(artifact):
                file.write(data)

    def frames(self, frames: Sequence[Frame]) -> Iterator[bytes]:
        """Read at their offsets in the blobs that they lie in."""
        extents, offset = [], 0
        for layer in self._parts[ROOTFS]:
            extents.append(Extent(offset, layer.size, layer.digest.removeprefix("sha256:")))
            offset += layer.size
        for run in plan_runs(frames, extents):
            with self._blobs.open(run.extent.url, run.extent.size) as file:
                for frame in run.frames:
                    yield _pread(file, frame.size, frame.offset - run.extent.offset)

    def verify(self, artifacts: Mapping[str, Artifact]) -> None:
        """Byte for byte."""
        for name, artifact in artifacts.items():
            digest = hashlib.sha256()
            for data in self._read(name):
                digest.update(data)
            if digest.hexdigest() != artifact.sha256:
                raise AuditError(f"{self._name}: the parts of {name} do not make it up", COPY_AGAIN)

    def verify_sizes(self, artifacts: Mapping[str, Artifact]) -> None:
        """Of every blob."""
        for name, artifact in artifacts.items():
            for layer in self._parts[name]:
                self._blobs.open(layer.digest.removeprefix("sha256:"), layer.size).close()
            said = sum(layer.size for layer in self._parts[name])
            if said != artifact.size:
                raise AuditError(
                    f"{self._name} has {said} bytes of {name}, its manifest says {artifact.size}", COPY_AGAIN
                )

    def _read(self, artifact: str) -> Iterator[bytes]:
        for layer in self._parts[artifact]:
            digest, left = hashlib.sha256(), layer.size
            with self._blobs.open(layer.digest.removeprefix("sha256:"), layer.size) as file:
                while data := _pread(file, min(_BLOCK, left), layer.size - left):
                    digest.update(data)
                    left -= len(data)
                    yield data
            if f"sha256:{digest.hexdigest()}" != layer.digest:
                raise AuditError(f"{self._name}: the blob {layer.digest} is not what its digest says", COPY_AGAIN)


def _pread(file: BinaryIO, size: int, offset: int) -> bytes:
    try:
        return os.pread(file.fileno(), size, offset)
    except OSError as error:
        raise AuditError(f"{file.name}: {error.strerror}", COPY_AGAIN) from error
