"""readback: what was packed is read as whoever gets the version reads it, before it has a name."""

from __future__ import annotations

import concurrent.futures
import hashlib
import itertools
import random
from collections.abc import Sequence
from pathlib import Path

from builder.archive.content import FrameRun, runs_of
from builder.archive.members import plain_frames, read_archive, read_members
from builder.archive.unpack import index_in
from builder.errors import AuditError
from builder.model.artifacts.index import FILE, FileRecord, Index
from builder.model.artifacts.manifest import BUNDLE, INDEX, Manifest
from builder.output.offer import check_frames, offer_directory
from builder.output.source import Source
from builder.output.versions import verify_artifacts
from builder.stages.context import Context
from builder.system.guarded.held import HeldDirectory

_USUAL, _UNUSUAL = 64, 256  # members that are read: of any kind, and of those that tar has to write in another way
_LARGE = 16 << 20  # bytes: of what is larger the headers have to do
_THREADS = 2
_REPORT = "this is a fault of diskless, please report it; nothing was published"


def run(context: Context, manifest: Manifest) -> None:
    """Raises AuditError where the finished artifacts cannot be read, or are not what the manifest says."""
    with context.progress.step("readback"):
        read_back(context.workspace.artifacts, manifest)


def read_back(directory: Path, manifest: Manifest) -> None:
    """Reads manifest, index, bundle and a sample of the archive's members; AuditError for what a reader would refuse.

    Which members is told by the root digest: the same version is always looked at in the same places.
    """
    try:
        offer = offer_directory(directory)
        if offer.manifest != manifest:
            raise AuditError("the manifest reads as another one")
        with HeldDirectory.at(directory.resolve()) as held:
            verify_artifacts(held, {INDEX: manifest.artifacts[INDEX], BUNDLE: manifest.artifacts[BUNDLE]})
            index = index_in(held)
        check_frames(offer, index)
        bundle = {name: hashlib.sha256(data).hexdigest() for name, data in read_members(directory / BUNDLE).items()}
        if manifest.digest_of(index.files, bundle) != manifest.root_digest:
            raise AuditError("index and bundle are not of the manifest's digest")
        _read_members(offer.source, index, sample(index, manifest.root_digest))
    except AuditError as error:
        message = f"the version that was built cannot be read back: {error.message}"
        raise AuditError(message, _REPORT, error.details) from error


def sample(index: Index, seed: str) -> list[int]:
    """The positions of the members to look at, sorted: all kinds of unusual ones, and some of the others."""
    chance = random.Random(seed)
    small = [position for position, record in enumerate(index.files) if record.size <= _LARGE]
    unusual = [position for position in small if _is_unusual(index.files[position])]
    chosen = {*chance.sample(small, min(_USUAL, len(small))), *chance.sample(unusual, min(_UNUSUAL, len(unusual)))}
    return sorted({0, *chosen})


def _is_unusual(record: FileRecord) -> bool:
    """Whether a header of ustar has no room for it, or attributes besides."""
    names = record.path + record.link
    return bool(record.xattrs) or max(len(record.path), len(record.link)) > 99 or not names.isascii()


def _read_members(source: Source, index: Index, wanted: Sequence[int]) -> None:
    runs: list[FrameRun] = runs_of(index, wanted)
    frames = [frame for run in runs for frame in index.frames[run.frames]]
    with concurrent.futures.ThreadPoolExecutor(_THREADS, "readback") as pool:
        plain = plain_frames(source.name, frames, source.frames(frames), pool)
        for run in runs:
            content = itertools.islice(plain, run.frames.stop - run.frames.start)
            for record, blocks in read_archive(source.name, content, index.files[run.records]):
                digest = hashlib.sha256()
                for block in blocks:
                    digest.update(block)
                if record.type == FILE and digest.hexdigest() != record.sha256:
                    raise AuditError(f"{record.path!r} is not what the index says")
