"""pull: the plain artifacts of a version come from a registry, a web server or a directory to OUTPUT/IMAGE/VERSION."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.archive.unpack import read_index
from builder.errors import AuditError, DisklessError
from builder.model.index import Frame
from builder.model.manifest import BUNDLE, CHECKSUMS, INDEX, MANIFEST, ROOTFS, Manifest
from builder.output.signature import verify_signature
from builder.output.source import SIGNATURE, DirectorySource, Source
from builder.output.versions import LATEST, parse_manifest, publish_version, verify_artifacts
from builder.progress.progress import Progress
from builder.system.files import copy_verified, sha256_of
from builder.system.workspace import WORK, open_workspace


@dataclass(frozen=True)
class Pulled:
    """A version that is here now: its directory, whether it was here before, who signed it, bytes that came."""

    directory: Path
    manifest: Manifest
    unchanged: bool
    signer: str | None
    received: int


def pull(source: Source, output: Path, progress: Progress, trust: Path | None = None) -> Pulled:
    """Fetches a version into `output`, whole or not at all; frames that the newest version here has are not fetched.

    With `trust`, an ALLOWED_SIGNERS file, AuditError for what none of them signed.
    """
    manifest = parse_manifest(source.manifest(), source.name)
    signer = None if trust is None else verify_signature(source.manifest(), source.signature(), trust)
    image = output / manifest.image
    with progress.step("pull"), open_workspace(output.absolute() / WORK) as workspace:
        unchanged = (image / manifest.version / MANIFEST).exists()
        if not unchanged:
            _fetch(source, manifest, workspace.artifacts, image / LATEST)
        directory, _ = publish_version(workspace.artifacts, image, manifest)
        if unchanged:
            verify_artifacts(directory, manifest)
    source.close()
    return Pulled(directory, manifest, unchanged, signer, source.received)


def _fetch(source: Source, manifest: Manifest, directory: Path, newest: Path) -> None:
    """Writes all files of a version into an empty directory, checked; what the newest version has is taken there."""
    (directory / MANIFEST).write_bytes(source.manifest())
    signature = source.signature()
    if signature is not None:
        (directory / SIGNATURE).write_bytes(signature)
    for name in (INDEX, BUNDLE):
        if not copy_verified(newest / name, directory / name, manifest.artifacts[name].sha256):
            source.fetch(name, directory / name)
    _write_archive(source, read_index(directory / INDEX).frames, directory / ROOTFS, newest)
    sums = [f"{sha256_of(directory / name)}  {name}\n" for name in sorted((BUNDLE, INDEX, MANIFEST, ROOTFS))]
    (directory / CHECKSUMS).write_text("".join(sums), encoding="ascii")
    verify_artifacts(directory, manifest)


def _write_archive(source: Source, frames: Sequence[Frame], archive: Path, newest: Path) -> None:
    """Puts the archive together, of frames that are here and frames that are fetched."""
    here = _frames_in(newest)
    local = DirectorySource(newest.resolve()).frames([here[frame.sha256] for frame in frames if frame.sha256 in here])
    remote = source.frames([frame for frame in frames if frame.sha256 not in here])
    with archive.open("wb") as file:
        for frame in frames:
            file.write(_checked(frame, local if frame.sha256 in here else remote, source))


def _checked(frame: Frame, frames: Iterator[bytes], source: Source) -> bytes:
    data = next(frames, b"")
    if hashlib.sha256(data).hexdigest() != frame.sha256:
        raise AuditError(f"{source.name}: the frame at byte {frame.offset} is damaged", "upload the version again")
    return data


def _frames_in(version: Path) -> Mapping[str, Frame]:
    """The frames of a version that is here, by digest; none where it cannot be read or is damaged."""
    try:
        frames = {frame.sha256: frame for frame in read_index(version / INDEX).frames}
        blocks = DirectorySource(version.resolve()).frames(list(frames.values()))
        return {
            frame.sha256: frame
            for frame, data in zip(frames.values(), blocks, strict=True)
            if hashlib.sha256(data).hexdigest() == frame.sha256
        }
    except (OSError, DisklessError):
        return {}
