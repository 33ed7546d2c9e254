"""A version on a server: its artifacts whole, and the frames of its archive by ranges, several requests at once.

Everything is checked before it is handed out, and kept for the next attempt until `close`. What is prepared is kept
too; sealed, a version gives what is kept and asks no server.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import hashlib
import itertools
import os
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from builder.archive.unpack import read_index
from builder.errors import AuditError, DisklessError
from builder.model.artifacts.index import Frame
from builder.model.artifacts.manifest import INDEX, ROOTFS, Artifact
from builder.output.source import MissingPartsError, Source
from builder.transports.base import Options
from builder.transports.http.addresses import plain_address
from builder.transports.http.client import Answer, HttpClient
from builder.transports.http.faults import TRY_LATER
from builder.transports.kept import Kept, disk_full, open_kept
from builder.transports.ranges import Extent, RangeRequest, first_byte, plan_runs
from builder.transports.retries import BrokenTransferError, DamagedTransferError, persist

_AHEAD = 2  # runs for each stream that may wait to be read


@dataclass(frozen=True)
class Blob:
    """A file on a server that is an artifact or a part of one."""

    url: str
    size: int
    sha256: str


@dataclass(frozen=True)
class RemoteVersion:
    """Where a version's artifacts lie.

    name: the reference that it was found by
    sha256: of its manifest, in hexadecimal
    artifacts: what the manifest says of each
    files, archive: the parts of index and bundle, those of the archive
    """

    name: str
    sha256: str
    artifacts: Mapping[str, Artifact]
    files: Mapping[str, Sequence[Blob]]
    archive: Sequence[Extent]


class RemoteSource(Source):
    """A version that was found once and for all: what its tag means later makes no difference."""

    def __init__(self, client: HttpClient, place: RemoteVersion, options: Options) -> None:
        self._client = client
        self._place = place
        self._options = options
        self._kept = open_kept(options, "versions", place.sha256[:32])
        self._kept.forget_old()
        self._is_sealed = False

    @property
    def name(self) -> str:
        """The reference it was found by."""
        return self._place.name

    @property
    def is_remote(self) -> bool:
        """Always."""
        return True

    @property
    def received(self) -> int:
        """Bytes of bodies that came over the line so far, for this version and for finding it."""
        return self._client.meter.moved

    def fetch(self, artifact: str, target: Path) -> None:
        """Checked against the manifest; AuditError where it is another again and again."""
        with disk_full(target):
            if artifact == ROOTFS:
                self._fetch_archive(target)
            else:
                self._fetch_file(artifact, target)

    def frames(self, frames: Sequence[Frame]) -> Iterator[bytes]:
        """Each checked against its digest; a few requests ahead of the reader."""
        if self._is_sealed:
            yield from self._kept_frames(frames)
            return
        with contextlib.closing(_Frames(self._client, self._kept, self._options, frames)) as source:
            yield from source.read(plan_runs(frames, self._place.archive))

    def prepare(self, artifacts: Sequence[str], frames: Sequence[Frame]) -> None:
        """Fetched and checked; who prepares the same version meanwhile is waited for, and has fetched it then."""
        with self._kept.fetching(self._options.progress.note):
            for name in artifacts:
                with disk_full(self._kept.directory):
                    self._fetch_blobs(name)
            for _ in self.frames(frames):
                pass

    @contextlib.contextmanager
    def sealed(self) -> Iterator[None]:
        """Within it no server is asked."""
        self._is_sealed = True
        try:
            yield
        finally:
            self._is_sealed = False

    def close(self) -> None:
        """Forgets what was kept for another attempt."""
        self._kept.clear()

    def _kept_frames(self, frames: Sequence[Frame]) -> Iterator[bytes]:
        for number, frame in enumerate(frames):
            data = self._kept.read(frame.sha256)
            if data is None:
                rest = [one for one in frames[number:] if not self._kept.has(one.sha256)]
                raise MissingPartsError(self.name, (), rest or frames[number:])
            yield data

    def _fetch_archive(self, target: Path) -> None:
        index = target.with_name(f".tmp-{target.name}.index")
        try:
            self._fetch_file(INDEX, index)
            digest = hashlib.sha256()
            with target.open("wb") as file:
                for data in self.frames(read_index(index).frames):
                    digest.update(data)
                    file.write(data)
        finally:
            index.unlink(missing_ok=True)
        if digest.hexdigest() != self._place.artifacts[ROOTFS].sha256:
            raise AuditError(f"{self.name}: the frames of its index are not its {ROOTFS}", "upload the version again")

    def _fetch_file(self, name: str, target: Path) -> None:
        blobs = self._place.files[name]
        with target.open("w+b") as file:
            if self._is_sealed:
                self._copy_kept(name, file)
            else:
                self._fetch_blobs(name, file)
            if hashlib.file_digest(file, "sha256").hexdigest() != self._place.artifacts[name].sha256:
                for blob in blobs:  # each is what its digest says, and all together are nothing
                    self._kept.forget(blob.sha256)
                raise AuditError(f"{self.name}: the parts of {name} do not make it up", "upload the version again")

    def _fetch_blobs(self, name: str, file: BinaryIO | None = None) -> None:
        """Fetches the parts of an artifact, several at once, and writes them to their places in a file."""
        blobs = self._place.files[name]
        offsets = itertools.accumulate((blob.size for blob in blobs), initial=0)
        with concurrent.futures.ThreadPoolExecutor(self._options.streams, "fetch") as pool:
            list(pool.map(self._fetch_blob, blobs, itertools.repeat(file), offsets))

    def _copy_kept(self, name: str, target: BinaryIO) -> None:
        for blob in self._place.files[name]:
            file = self._kept.whole(blob.sha256, blob.size)
            if file is None:
                raise MissingPartsError(self.name, (name,), ())
            with file:
                shutil.copyfileobj(file, target)
        target.seek(0)

    def _fetch_blob(self, blob: Blob, file: BinaryIO | None, offset: int) -> None:
        """Keeps a blob, and writes it to its place in a file, when it has come as a whole."""
        with self._kept.partial(blob.sha256) as part:
            self._client.meter.expect(blob.size - part.seek(0, 2))
            try:
                persist(lambda: self._continue(blob, part), self._options.retries, lambda: part.seek(0, 2))
            except DamagedTransferError:
                self._kept.forget(blob.sha256)
                raise
            part.seek(0)
            while file is not None and (data := part.read(1 << 20)):
                offset += os.pwrite(file.fileno(), data, offset)

    def _continue(self, blob: Blob, part: BinaryIO) -> None:
        """Fetches what the beginning in `part` lacks of a blob."""
        have = part.seek(0, 2)
        if have < blob.size:
            headers = {"Range": f"bytes={have}-"} if have else {}
            with self._client.open("GET", blob.url, headers=headers, accept=(200, 206)) as answer:
                part.seek(_start_of(answer, have))
                _copy(answer, part, blob.size)
        if part.seek(0, 2) < blob.size:
            raise BrokenTransferError(f"{plain_address(blob.url)} ended early", TRY_LATER)
        if _digest(part) != blob.sha256:
            part.truncate(0)
            raise DamagedTransferError(
                f"{plain_address(blob.url)} is not what the manifest says", "upload the version again"
            )


class _Frames:
    """The requests for some frames, made by several threads."""

    def __init__(self, client: HttpClient, kept: Kept, options: Options, frames: Iterable[Frame]) -> None:
        self._client = client
        self._kept = kept
        self._options = options
        self._stop = threading.Event()
        self._cause: DisklessError | None = None  # why the others were stopped
        self._pool = concurrent.futures.ThreadPoolExecutor(options.streams, "fetch")
        self._wanted = sorted(set(frames), key=lambda frame: frame.offset)
        client.meter.expect(sum(frame.size for frame in self._wanted))
        # a server that gives the whole file instead of a range is asked by one thread at a time
        self._whole = threading.Lock()
        self._count = 0  # frames that came; it may miss one, since it only tells whether there was any progress

    def read(self, runs: Iterator[RangeRequest]) -> Iterator[bytes]:
        """The frames of the runs in order."""
        pending: collections.deque[concurrent.futures.Future[list[bytes]]] = collections.deque()
        for run in runs:
            pending.append(self._pool.submit(self._fetch, run))
            if len(pending) > self._options.streams * _AHEAD:
                yield from self._result(pending.popleft())
        while pending:
            yield from self._result(pending.popleft())

    def _result(self, future: concurrent.futures.Future[list[bytes]]) -> list[bytes]:
        try:
            return future.result()
        except DisklessError as error:
            raise self._cause or error from None

    def close(self) -> None:
        """Ends the threads."""
        self._stop.set()
        self._pool.shutdown(cancel_futures=True)

    def _fetch(self, run: RangeRequest) -> list[bytes]:
        found: dict[Frame, bytes] = {}
        try:
            persist(lambda: self._attempt(run, found), self._options.retries, lambda: self._count, self._stop)
        except DisklessError as error:
            self._cause = self._cause or error
            self._stop.set()
            raise
        return [found[frame] for frame in run.frames]

    def _attempt(self, run: RangeRequest, found: dict[Frame, bytes]) -> None:
        """One request for what was neither fetched nor kept."""
        missing = self._missing(run, found)
        if not missing:
            return
        asked = run.range_of(missing)
        headers = {} if asked is None else {"Range": f"bytes={asked[0]}-{asked[1]}"}
        with self._client.open("GET", run.extent.url, headers=headers, accept=(200, 206)) as answer:
            start = _start_of(answer, asked[0] if asked else 0) + run.extent.offset
            if answer.status == 206 or asked is None:
                for frame, data in _take(answer, start, missing):
                    self._keep(frame, data)
                    found[frame] = data
                return
            if self._whole.acquire(blocking=False):
                try:
                    self._take_whole(answer, run.extent)
                finally:
                    self._whole.release()
        # of the whole file every frame was kept, by us or by the thread that we wait for
        with self._whole:
            if self._missing(run, found):
                raise BrokenTransferError(f"{plain_address(run.extent.url)} ended early", TRY_LATER)

    def _take_whole(self, answer: Answer, extent: Extent) -> None:
        end = extent.offset + extent.size
        inside = [frame for frame in self._wanted if extent.offset <= frame.offset < end]
        for frame, data in _take(answer, extent.offset, inside):
            self._keep(frame, data)

    def _missing(self, run: RangeRequest, found: dict[Frame, bytes]) -> list[Frame]:
        for frame in run.frames:
            if frame not in found:
                data = self._kept.read(frame.sha256)
                if data is not None:
                    found[frame] = data
                    self._client.meter.expect(-frame.size)
        return [frame for frame in run.frames if frame not in found]

    def _keep(self, frame: Frame, data: bytes) -> None:
        self._kept.write(frame.sha256, data)
        self._count += 1
        if self._stop.is_set():
            raise BrokenTransferError("ended with another request", TRY_LATER)


def _take(answer: Answer, position: int, frames: Sequence[Frame]) -> Iterator[tuple[Frame, bytes]]:
    """The frames in a body that begins at `position` of the archive, as soon as each is there and whole."""
    pieces = answer.pieces()
    data = bytearray()
    for frame in frames:
        while position + len(data) < frame.offset + frame.size:
            skip = min(frame.offset - position, len(data))
            if skip > 0:
                del data[:skip]
                position += skip
            piece = next(pieces, None)
            if piece is None:
                raise BrokenTransferError(f"{plain_address(answer.url)}: ended early", TRY_LATER)
            data += piece
        start = frame.offset - position
        content = bytes(data[start : start + frame.size])
        del data[: start + frame.size]
        position = frame.offset + frame.size
        if hashlib.sha256(content).hexdigest() != frame.sha256:
            raise DamagedTransferError(f"the frame at byte {frame.offset} is damaged", "upload the version again")
        yield frame, content


def _start_of(answer: Answer, asked: int) -> int:
    try:
        return first_byte(answer.status, answer.headers.get("Content-Range"), asked)
    except ValueError as error:
        raise BrokenTransferError(str(error), TRY_LATER) from error


def _copy(answer: Answer, part: BinaryIO, size: int) -> None:
    """Writes a body to where `part` stands, not further than `size`."""
    position = part.tell()
    for piece in answer.pieces():
        part.write(piece[: size - position])
        position += len(piece)
        if position > size:
            break


def _digest(part: BinaryIO) -> str:
    part.seek(0)
    digest = hashlib.sha256()
    while data := part.read(1 << 20):
        digest.update(data)
    return digest.hexdigest()
