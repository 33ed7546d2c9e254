"""A second process that writes a part of the files of an archive: one interpreter uses one processor.

It gets its part as JSON on standard input. It prints how many files it has written since, a line each time, and at
last an object: empty, or what it failed of. It dies with its parent.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from builder.archive.content import FrameRun, OnFile, write_content
from builder.archive.directories import Directories
from builder.errors import AuditError, DisklessError, HostError
from builder.model.artifacts.index import FileRecord, Frame, Index
from builder.output.source import DirectorySource
from builder.system.guarded.held import HeldDirectory
from builder.system.run import describe_status

_WORTH = 64 << 20  # bytes: to start it takes as long as to write some of them
_BYTES_OF_A_FILE = 8 << 10  # can be written while a file is made
_STEP = 64  # files
_PR_SET_PDEATHSIG = 1  # prctl(2)
_ERRORS = {kind.__name__: kind for kind in (AuditError, HostError)}


def divide(index: Index, runs: Sequence[FrameRun]) -> tuple[list[FrameRun], list[FrameRun]]:
    """Two parts of `runs` that take about as long; the second is empty where it would not be worth a process."""
    sizes = [_BYTES_OF_A_FILE * len(index.files[run.records]) + _plain_size(index.frames[run.frames]) for run in runs]
    left = sum(sizes) // 2
    if sum(sizes) < _WORTH or len(os.sched_getaffinity(0)) < 2:
        return list(runs), []
    for position, size in enumerate(sizes):
        if size > left:
            first, second = _cut(index, runs[position], left)
            return [*runs[:position], first], [*second, *runs[position + 1 :]]
        left -= size
    return list(runs), []


def _cut(index: Index, run: FrameRun, size: int) -> tuple[FrameRun, list[FrameRun]]:
    """A run in two, where a frame begins with a member after about `size` bytes; the second may be missing."""
    best, seen, frame = run.records.start, 0, run.frames.start
    distance = size
    for position in range(run.records.start, run.records.stop):
        begins = index.files[position].frame
        if begins > frame:
            seen += _plain_size(index.frames[frame:begins])
            frame = begins
            if abs(seen - size) < distance:
                best, distance = position, abs(seen - size)
        seen += _BYTES_OF_A_FILE
    if best == run.records.start:
        return run, []
    cut = index.files[best].frame
    second = FrameRun(slice(cut, run.frames.stop), slice(best, run.records.stop))
    return FrameRun(slice(run.frames.start, cut), slice(run.records.start, best)), [second]


def _plain_size(frames: Sequence[Frame]) -> int:
    return sum(frame.plain_size for frame in frames)


class Helper:
    """The process as its parent sees it; `on_file` hears of its files."""

    def __init__(self, process: subprocess.Popen[bytes], on_file: OnFile) -> None:
        assert process.stdout is not None
        self._process = process
        self._output = process.stdout.fileno()
        self._ready = select.poll()
        self._ready.register(self._output, select.POLLIN)
        self._on_file = on_file
        self._rest = b""
        self._is_done = False

    def poll(self) -> None:
        """Takes note of what it has done, without waiting; raises what it failed of, as if it had happened here."""
        while self._ready.poll(0) and self._read():
            pass

    def finish(self) -> None:
        """Waits until its part is written; raises as `poll` does, and HostError where it ended early."""
        while self._read():
            pass
        status = self._process.wait()
        if not self._is_done:
            raise HostError(f"a process that wrote files ended early: {describe_status(status)}", "try again")

    def _read(self) -> bool:
        data = os.read(self._output, 1 << 16)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for message in map(json.loads, lines):
            if isinstance(message, dict):
                self._is_done = True
                _raise(message)
            else:
                for _ in range(message):
                    self._on_file("")
        return bool(data)


def _raise(result: Mapping[str, Any]) -> None:
    if "errno" in result:
        raise OSError(result["errno"], os.strerror(result["errno"]), result["filename"])
    if "error" in result:
        raise _ERRORS[result["error"]](result["message"], result["hint"])


@contextlib.contextmanager
def helping(
    source: DirectorySource,
    index: Index,
    root: HeldDirectory,
    runs: Sequence[FrameRun],
    wanted: set[int],
    on_file: OnFile,
) -> Iterator[Helper]:
    """A helper that writes the files at the positions `wanted` which lie in `runs`; call its `finish`."""
    part = {
        "parent": os.getpid(),
        "version": [source.held.handle, str(source.held.path), source.rootfs],
        "root": root.handle,
        "runs": [_described(index, run, wanted) for run in runs],
    }
    # what this process has imported, it imports, whatever lies where it is started
    program = f"import sys; sys.path[:] = {sys.path!r}; from builder.archive.helper import main; main()"
    with os.fdopen(os.memfd_create("part"), "w+b") as stdin:
        stdin.write(json.dumps(part).encode())
        stdin.seek(0)
        # in a session of its own: Ctrl-C reaches only us
        process = subprocess.Popen(
            [sys.executable, "-IB", "-c", program],
            stdin=stdin,
            stdout=subprocess.PIPE,
            start_new_session=True,
            # by their paths it might find others
            pass_fds=(source.held.handle, root.handle),
        )
    with process:
        try:
            yield Helper(process, on_file)
        except BaseException:
            process.kill()
            raise


def _described(index: Index, run: FrameRun, wanted: set[int]) -> dict[str, Any]:
    return {
        "frames": [dataclasses.astuple(frame) for frame in index.frames[run.frames]],
        "files": [record.row() for record in index.files[run.records]],
        "wanted": [position in wanted for position in range(run.records.start, run.records.stop)],
    }


def main() -> None:
    """The helper itself."""
    part = json.load(sys.stdin)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != part["parent"]:
        return  # it died before
    try:
        _write(part)
        result: dict[str, Any] = {}
    except DisklessError as error:
        result = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
    except OSError as error:
        result = {"errno": error.errno, "filename": error.filename}
    _say(result)


def _write(part: dict[str, Any]) -> None:
    frames: list[Frame] = []
    files: list[FileRecord] = []
    runs: list[FrameRun] = []
    wanted: set[int] = set()
    for described in part["runs"]:
        before = len(frames), len(files)
        frames += [Frame(*row) for row in described["frames"]]
        files += [FileRecord(*row) for row in described["files"]]
        runs.append(FrameRun(slice(before[0], len(frames)), slice(before[1], len(files))))
        wanted.update(before[1] + number for number, is_wanted in enumerate(described["wanted"]) if is_wanted)
    handle, path, rootfs = part["version"]
    count = 0

    def on_file(_: str) -> None:
        nonlocal count
        count += 1
        if count == _STEP:
            _say(count)
            count = 0

    source = DirectorySource(HeldDirectory(handle, Path(path)), rootfs)
    write_content(Directories(part["root"]), source, Index(frames, files), runs, wanted, on_file)
    _say(count)


def _say(message: object) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")
