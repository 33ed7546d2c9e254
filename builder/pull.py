"""pull: the plain artifacts of a version come from a registry, a web server or a directory to OUTPUT/IMAGE/VERSION."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.archive.unpack import index_in, read_index
from builder.errors import AuditError, DisklessError
from builder.model.artifacts.index import Frame
from builder.model.artifacts.manifest import BUNDLE, CHECKSUMS, INDEX, MANIFEST, ROOTFS, Manifest
from builder.model.artifacts.memory import ChannelMemory
from builder.model.syntax import IMAGE_NAME
from builder.model.version import VERSION
from builder.output.approval import Approval, approve
from builder.output.given import SIGNATURE, copy_given, open_given, read_given
from builder.output.offer import Offer, check_frames
from builder.output.places import CHANNEL_MEMORY, hold_image, hold_output, hold_work, publish_version, write_output
from builder.output.source import DirectorySource, Source
from builder.output.trust import SignerTrust
from builder.output.versions import LATEST, manifest_bytes, verify_artifacts
from builder.progress.progress import Progress
from builder.system.clock import read_moment
from builder.system.files import sha256_of
from builder.system.guarded.held import HeldDirectory
from builder.system.guarded.locks import locked
from builder.system.workspace import open_workspace

MEMORY_FILE = CHANNEL_MEMORY
_LARGEST_MEMORY = 4 << 20  # bytes


@dataclass(frozen=True)
class Pulled:
    """A version that is here now: its directory, whether it was here before, who signed it, bytes that came.

    approval: what else was found good about it; None where nobody asked
    """

    directory: Path
    manifest: Manifest
    unchanged: bool
    signer: str | None
    received: int
    approval: Approval | None = None


@dataclass(frozen=True)
class PullOptions:
    """How to pull.

    trust: whom is believed; None: everybody
    image: what the version must be of; None: of any
    allow_downgrade: whether an older statement of a channel is believed than one that was seen
    """

    trust: SignerTrust | None = None
    image: str | None = None
    allow_downgrade: bool = False


def pull(offer: Offer, output: Path, progress: Progress, options: PullOptions | None = None) -> Pulled:
    """Fetches a version into `output`, whole or not at all; frames that the newest version here has are not fetched.

    AuditError for what nobody signed who is trusted, and for another version than its channel means now.
    """
    options = options or PullOptions()
    with offer.source.finished():
        return _pull(offer, output, progress, options)


def _pull(offer: Offer, output: Path, progress: Progress, options: PullOptions) -> Pulled:
    source, manifest = offer.source, offer.manifest
    if options.image is not None and manifest.image != options.image:
        message = f"{source.name} is of the image {manifest.image}, not {options.image}"
        raise AuditError(message, "check the reference, and ask who can write there")
    if options.trust is not None:
        options.trust.verify_version(offer)  # before anything is written
    work = hold_work(output, progress.note)
    outer = hold_output(output, progress.note)
    with progress.step("pull"), open_workspace(work, progress.note, progress.warn) as workspace:
        _approved(offer, outer, options, progress)  # and again below: another pull may have seen more meanwhile
        image = hold_image(output, manifest.image, progress.note)
        unchanged = bool(image.kind(manifest.version))
        if unchanged:
            _check_there(offer, image)
            verify_artifacts(image.enter(manifest.version), manifest.artifacts)
        else:
            _fetch(offer, workspace.artifacts, _newest(image))
        with locked(work.path / "channels.lock", "another pull publishes what it fetched", progress.note):
            approval = _approved(offer, outer, options, Progress(quiet=True))
            if approval is not None:  # first: who is killed in between pulls the same again, and nothing older
                write_output(outer, MEMORY_FILE, approval.memory.to_json().encode())
                _forget_old(outer)
            publish_version(workspace.artifacts, image, manifest)
    signer = None if approval is None else approval.signer
    return Pulled(output / manifest.image / manifest.version, manifest, unchanged, signer, source.received, approval)


def _approved(offer: Offer, outer: HeldDirectory, options: PullOptions, progress: Progress) -> Approval | None:
    """That the version may come, said; None where nobody asks. AuditError where it may not."""
    if options.trust is None:
        return None
    memory = _read_memory(outer)
    approval = approve(offer, options.trust, memory, read_moment(), allow_downgrade=options.allow_downgrade)
    for text in approval.notes:
        progress.note(text)
    for text in approval.warnings:
        progress.warn(text)
    return approval


def _read_memory(outer: HeldDirectory) -> ChannelMemory:
    """What pulls into this directory saw, and what those of before kept with each image."""
    memory = _read_one(outer)
    for image in _images(outer):
        memory = memory.merged(_read_one(image))
    return memory


def _forget_old(outer: HeldDirectory) -> None:
    """What was kept with each image is in the one memory now; else an older statement could never be allowed."""
    for image in _images(outer):
        if image.kind(MEMORY_FILE):
            image.unlink(MEMORY_FILE)


def _images(outer: HeldDirectory) -> Iterator[HeldDirectory]:
    for name in filter(IMAGE_NAME.accepts, outer.directories()):
        with contextlib.suppress(PermissionError):  # this user never pulled into it
            yield outer.enter(name)


def _read_one(image: HeldDirectory) -> ChannelMemory:
    if not image.kind(MEMORY_FILE):
        return ChannelMemory()
    try:
        with open_given(image, MEMORY_FILE) as file:
            return ChannelMemory.from_json(file.read(_LARGEST_MEMORY))
    except ValueError as error:
        path = image.path / MEMORY_FILE
        hint = "it says which versions were seen last; remove it, and older ones than those are believed again"
        raise AuditError(f"{path} cannot be read: {error}", hint) from error


def _check_there(offer: Offer, image: HeldDirectory) -> None:
    """AuditError unless the version that is here has the same manifest, to the byte; a signature comes with it."""
    with image.enter(offer.manifest.version) as there:
        if manifest_bytes(there) != offer.data:
            message = f"{there.path} has another manifest than {offer.source.name}: it may boot otherwise"
            raise AuditError(message, f"move {there.path} away and pull again")
        if offer.signature is not None and not (
            there.kind(SIGNATURE) and read_given(there, SIGNATURE) == offer.signature
        ):
            write_output(there, SIGNATURE, offer.signature)


def _newest(image: HeldDirectory) -> HeldDirectory | None:
    """The newest version that is here."""
    name = image.link(LATEST)
    return image.enter(name) if name and VERSION.accepts(name) and image.is_directory(name) else None


def _fetch(offer: Offer, directory: Path, newest: HeldDirectory | None) -> None:
    """Writes all files of a version into an empty directory, checked; what the newest version has is taken there."""
    source, artifacts = offer.source, offer.manifest.artifacts
    offer.write_documents(directory)
    lacking = [
        name
        for name in (INDEX, BUNDLE)
        if newest is None or not _link_verified(newest, name, directory / name, artifacts[name].sha256)
    ]
    source.prepare(lacking, ())
    with source.sealed():
        for name in lacking:
            source.fetch(name, directory / name)
    index = read_index(directory / INDEX, entries=offer.manifest.entries)
    check_frames(offer, index)
    _write_archive(source, index.frames, directory / ROOTFS, newest)
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
    lacking = [frame for frame in frames if frame.sha256 not in here]
    source.prepare((), lacking)
    with archive.open("wb") as file, source.sealed():
        remote = source.frames(lacking)
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
