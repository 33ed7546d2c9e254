"""pull: the plain artifacts of a version come from a registry, a web server or a directory to OUTPUT/IMAGE/VERSION."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.archive.unpack import index_in, read_index
from builder.errors import AuditError, DisklessError
from builder.model.artifacts.index import Frame
from builder.model.artifacts.manifest import BUNDLE, CHECKSUMS, INDEX, MANIFEST, ROOTFS, Manifest
from builder.model.version import VERSION
from builder.output.given import copy_given
from builder.output.offer import Offer
from builder.output.places import hold_image, hold_work, publish_version
from builder.output.source import DirectorySource, Source
from builder.output.versions import LATEST, verify_artifacts
from builder.progress.progress import Progress
from builder.system.files import sha256_of
from builder.system.guarded.held import HeldDirectory
from builder.system.workspace import open_workspace


@dataclass(frozen=True)
class Pulled:
    """A version that is here now: its directory, whether it was here before, who signed it, bytes that came."""

    directory: Path
    manifest: Manifest
    unchanged: bool
    signer: str | None
    received: int


def pull(offer: Offer, output: Path, progress: Progress, trust: Path | None = None) -> Pulled:
    """Fetches a version into `output`, whole or not at all; frames that the newest version here has are not fetched.

    With `trust`, an ALLOWED_SIGNERS file, AuditError for what none of them signed.
    """
    source, manifest = offer.source, offer.manifest
    signer = None if trust is None else offer.verify_signer(trust)
    work = hold_work(output, progress.note)
    with progress.step("pull"), open_workspace(work, progress.note) as workspace:
        image = hold_image(output, manifest.image, progress.note)
        unchanged = bool(image.kind(manifest.version))
        if not unchanged:
            _fetch(offer, workspace.artifacts, _newest(image))
        publish_version(workspace.artifacts, image, manifest)
        if unchanged:
            verify_artifacts(image.enter(manifest.version), manifest.artifacts)
    source.close()
    return Pulled(output / manifest.image / manifest.version, manifest, unchanged, signer, source.received)


def _newest(image: HeldDirectory) -> HeldDirectory | None:
    """The newest version that is here."""
    name = image.link(LATEST)
    return image.enter(name) if name and VERSION.accepts(name) and image.is_directory(name) else None


def _fetch(offer: Offer, directory: Path, newest: HeldDirectory | None) -> None:
    """Writes all files of a version into an empty directory, checked; what the newest version has is taken there."""
    source, artifacts = offer.source, offer.manifest.artifacts
    offer.write_documents(directory)
    for name in (INDEX, BUNDLE):
        if newest is None or not _link_verified(newest, name, directory / name, artifacts[name].sha256):
            source.fetch(name, directory / name)
    _write_archive(source, read_index(directory / INDEX).frames, directory / ROOTFS, newest)
    verify_artifacts(HeldDirectory.at(directory), artifacts)
    digests = {name: artifact.sha256 for name, artifact in artifacts.items()}
    digests[MANIFEST] = hashlib.sha256(offer.data).hexdigest()
    sums = [f"{sha256}  {name}\n" for name, sha256 in sorted(digests.items())]
    (directory / CHECKSUMS).write_text("".join(sums), encoding="ascii")


def _link_verified(newest: HeldDirectory, name: str, target: Path, sha256: str) -> bool:
    """A further name of a file of the newest version, or a copy, if it is that; False where it is another."""
    try:
        os.link(name, target, src_dir_fd=newest.handle, follow_symlinks=False)
    except OSError:
        try:
            copy_given(newest, name, target)
        except AuditError:
            return False
    if target.is_file() and not target.is_symlink() and sha256_of(target) == sha256:
        return True
    target.unlink()
    return False


def _write_archive(source: Source, frames: Sequence[Frame], archive: Path, newest: HeldDirectory | None) -> None:
    """Puts the archive together, of frames that are here and frames that are fetched."""
    here = {} if newest is None else _frames_in(newest)
    wanted = [here[frame.sha256] for frame in frames if frame.sha256 in here]
    local = iter(()) if newest is None else DirectorySource(newest).frames(wanted)
    remote = source.frames([frame for frame in frames if frame.sha256 not in here])
    with archive.open("wb") as file:
        for frame in frames:
            file.write(_checked(frame, local if frame.sha256 in here else remote, source))


def _checked(frame: Frame, frames: Iterator[bytes], source: Source) -> bytes:
    data = next(frames, b"")
    if hashlib.sha256(data).hexdigest() != frame.sha256:
        raise AuditError(f"{source.name}: the frame at byte {frame.offset} is damaged", "upload the version again")
    return data


def _frames_in(version: HeldDirectory) -> Mapping[str, Frame]:
    """The frames of a version that is here, by digest; none where it cannot be read or is damaged."""
    try:
        frames = {frame.sha256: frame for frame in index_in(version).frames}
        blocks = DirectorySource(version).frames(list(frames.values()))
        return {
            frame.sha256: frame
            for frame, data in zip(frames.values(), blocks, strict=True)
            if hashlib.sha256(data).hexdigest() == frame.sha256
        }
    except (OSError, DisklessError):
        return {}
