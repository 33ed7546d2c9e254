"""What transports compute without a network: layers, ranges, retries, challenges, progress."""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
from pathlib import Path

import pytest

from builder.errors import AuditError, InputError
from builder.model.artifacts.index import FILE, FileRecord, Frame, Index
from builder.model.artifacts.manifest import ROOTFS
from builder.output.offer import SignedStatement
from builder.progress.progress import Progress
from builder.system.guarded.held import HeldDirectory
from builder.transports.http.addresses import is_loopback
from builder.transports.http.client import FilePart
from builder.transports.http.credentials import parse_header
from builder.transports.http.meter import Meter
from builder.transports.http.refusals import retry_after, server_says
from builder.transports.http.tokens import parse_challenge
from builder.transports.kept import Kept
from builder.transports.layers import LARGEST, MEAN, SMALLEST, cut_layers
from builder.transports.oci.document import write_document
from builder.transports.oci.transport import parse_oci
from builder.transports.pieces import MOST_LAYERS, Cut, Piece
from builder.transports.ranges import Extent, first_byte, plan_runs
from builder.transports.retries import BrokenTransferError, Retries, persist
from tests.samples import MANIFEST as MANIFEST_SAMPLE


def make_index(members: list[tuple[str, int]], content: str = "") -> Index:
    """An index of frames, each with one member, or of pieces of 1 MiB where that is larger."""
    frames: list[Frame] = []
    files = []
    for name, size in members:
        files.append(FileRecord(name, FILE, 0o644, 0, 0, 0, size, "", "", {}, len(frames)))
        left = size
        while left > 0:
            plain = min(left, 1 << 20)
            digest = hashlib.sha256(f"{name}{left}{content}".encode()).hexdigest()
            offset = frames[-1].offset + frames[-1].size if frames else 0
            frames.append(Frame(offset, plain // 3 + 1, plain, digest))
            left -= plain
    return Index(frames, files)


MEMBERS = [(f"usr/share/{number:04}", 80_000 + number * 50) for number in range(400)]


def digests(index: Index, most: int | None = None) -> list[str]:
    layers = cut_layers(index, most)
    return [hashlib.sha256("".join(frame.sha256 for frame in layer).encode()).hexdigest() for layer in layers]


def test_layers_are_all_frames_in_order() -> None:
    index = make_index(MEMBERS)
    layers = cut_layers(index)
    assert [frame for layer in layers for frame in layer] == list(index.frames)
    sizes = [sum(frame.plain_size for frame in layer) for layer in layers]
    assert max(sizes) <= LARGEST
    assert min(sizes[:-1]) >= SMALLEST
    assert MEAN / 2 < sum(sizes) / len(sizes) < MEAN * 1.5


def test_another_content_cuts_the_same_layers() -> None:
    first, second = make_index(MEMBERS), make_index(MEMBERS, "edited")
    assert [len(layer) for layer in cut_layers(first)] == [len(layer) for layer in cut_layers(second)]


@pytest.mark.parametrize("where", [0, 57, 200, 399])
def test_a_new_member_changes_few_layers(where: int) -> None:
    before = set(digests(make_index(MEMBERS)))
    after = digests(make_index([*MEMBERS[:where], ("usr/share/new", 90_000), *MEMBERS[where:]]))
    assert len([digest for digest in after if digest not in before]) <= 4


def test_pieces_of_a_large_member_lie_together_and_alone() -> None:
    index = make_index([("a", 100_000), ("b", 20 << 20), ("c", 100_000)])
    assert [sum(frame.plain_size for frame in layer) for layer in cut_layers(index)] == [
        100_000,
        8 << 20,
        8 << 20,
        4 << 20,
        100_000,
    ]


def test_modules_of_a_kernel_lie_together() -> None:
    members = [(f"usr/lib/modules/6.1/kernel/{number:04}.ko", 150_000) for number in range(200)]
    index = make_index([("usr/lib/a", 150_000), *members, ("usr/lib/z", 150_000)])
    layers = cut_layers(index)
    assert len(layers[0]) == len(layers[-1]) == 1
    assert max(sum(frame.plain_size for frame in layer) for layer in layers) > 2 * LARGEST


def test_a_bounded_cut_has_no_more_layers_whatever_the_size() -> None:
    for count in (50, 400, 3000):
        index = make_index([(f"usr/share/{number:05}", 30_000 + number * 97 % 300_000) for number in range(count)])
        for most in (1, 2, 11, 100, 290):
            layers = cut_layers(index, most)
            assert [frame for layer in layers for frame in layer] == list(index.frames)
            assert len(layers) <= most
            assert len(layers) > most * 0.9 or len(layers) == len(cut_layers(index))
    index = make_index([("a", 10), ("usr/lib/large", 300 << 20), ("usr/lib/modules/6.1/a.ko", 1 << 20), ("z", 10)])
    assert 2 < len(cut_layers(index, 10)) <= 10


@pytest.mark.parametrize("where", [0, 57, 200, 399])
def test_a_new_member_changes_few_layers_of_a_bounded_cut(where: int) -> None:
    before = set(digests(make_index(MEMBERS), 60))
    after = digests(make_index([*MEMBERS[:where], ("usr/share/new", 90_000), *MEMBERS[where:]]), 60)
    assert len(after) == 60
    assert len([digest for digest in after if digest not in before]) <= 6


def test_another_content_cuts_the_same_layers_in_a_bounded_cut() -> None:
    first, second = make_index(MEMBERS), make_index(MEMBERS, "edited")
    assert [len(layer) for layer in cut_layers(first, 60)] == [len(layer) for layer in cut_layers(second, 60)]


@pytest.mark.parametrize(("count", "most"), [(300, 256_000), (MOST_LAYERS, 4 << 20)])
def test_manifests_are_as_small_as_registries_want(count: int, most: int, tmp_path: Path) -> None:
    part = FilePart(HeldDirectory.at(tmp_path), ROOTFS, 0, 1 << 30)
    pieces = [Piece(f"{ROOTFS}.{number:05}", part, f"{number:064x}") for number in range(1, count + 1)]
    statement = SignedStatement("x" * 400, b"s" * 400)
    assert len(write_document(MANIFEST_SAMPLE, Cut(pieces, count), statement)) < most


def test_where_small_files_lie_layers_are_short() -> None:
    """One edited file of many costs the layer that it lies in."""
    small = [(f"etc/{number:05}", 600) for number in range(20_000)]
    large = [(f"usr/lib/{number:03}.so", 1 << 20) for number in range(100)]
    index = pack_index([*small, *large])
    layers = cut_layers(index, 60)
    sizes = [sum(frame.plain_size for frame in layer) for layer in layers]
    first_large = next(number for number, frame in enumerate(index.frames) if frame.plain_size == 1 << 20)
    starts = [index.frames.index(layer[0]) for layer in layers]
    short = [size for start, size in zip(starts, sizes, strict=True) if start < first_large - 20]
    long = [size for start, size in zip(starts, sizes, strict=True) if start >= first_large]
    assert sum(short) / len(short) * 3 < sum(long) / len(long)


def pack_index(members: list[tuple[str, int]]) -> Index:
    """An index with frames of about 64 KiB, of small members or of one."""
    frames: list[Frame] = []
    files = []
    size = 0
    for name, plain in members:
        if not frames or size + plain > 64 << 10:
            offset = frames[-1].offset + frames[-1].size if frames else 0
            frames.append(Frame(offset, 1, 1, ""))
            size = 0
        size += plain
        frames[-1] = Frame(frames[-1].offset, size // 3 + 1, size, "")
        files.append(FileRecord(name, FILE, 0o644, 0, 0, 0, plain, "", "", {}, len(frames) - 1))
    return Index(frames, files)


def test_runs_bring_frames_that_lie_side_by_side() -> None:
    frames = make_index(MEMBERS).frames
    end = frames[-1].offset + frames[-1].size
    half = frames[200].offset
    extents = [Extent(0, half, "first"), Extent(half, end - half, "second")]
    runs = list(plan_runs(frames, extents))
    assert [frame for run in runs for frame in run.frames] == list(frames)
    assert {run.extent.url for run in runs} == {"first", "second"}
    assert len(runs) < 10
    near, far = [frames[0], frames[2]], [frames[0], frames[100]]
    assert [len(run.frames) for run in plan_runs(near, extents)] == [2]
    assert [len(run.frames) for run in plan_runs(far, extents)] == [1, 1]
    assert next(iter(plan_runs(frames[:1], extents))).range_of(frames[:1]) == (0, frames[0].size - 1)
    assert next(iter(plan_runs(frames[200:201], extents))).range_of(frames[200:201]) == (0, frames[200].size - 1)
    assert next(iter(plan_runs(frames[:1], [Extent(0, frames[0].size, "x")]))).range_of(frames[:1]) is None


def test_frames_outside_of_all_layers() -> None:
    frames = make_index(MEMBERS).frames
    for extents in ([], [Extent(0, frames[0].size - 1, "x")], [Extent(1, 10, "x")]):
        with pytest.raises(AuditError, match="in no layer"):
            list(plan_runs(frames[:1], extents))


def test_where_an_answer_begins() -> None:
    assert first_byte(200, None, 100) == 0
    assert first_byte(206, "bytes 100-199/1000", 100) == 100
    for header in ("bytes 0-199/1000", None, "multipart"):
        with pytest.raises(ValueError, match="asked for"):
            first_byte(206, header, 100)


def test_retries_end_and_begin_again_with_progress() -> None:
    calls = [0]

    def fail() -> None:
        calls[0] += 1
        raise BrokenTransferError("broken")

    with pytest.raises(BrokenTransferError):
        persist(fail, Retries(attempts=4, first=0.0))
    assert calls[0] == 4

    def advance() -> int:
        calls[0] += 1
        if calls[0] < 30:
            raise BrokenTransferError("broken")
        return calls[0]

    assert persist(advance, Retries(attempts=2, first=0.0), lambda: calls[0]) == 30


def test_retries_do_not_wait_for_what_takes_too_long() -> None:
    fault = BrokenTransferError("busy")
    fault.retry_after = 3600
    calls = []

    def fail() -> None:
        calls.append(1)
        raise fault

    with pytest.raises(BrokenTransferError):
        persist(fail, Retries(attempts=4, first=0.0))
    assert len(calls) == 1
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(BrokenTransferError):
        persist(fail, Retries(attempts=4, first=1000.0), stop=stopped)


def test_delays_grow_to_a_limit_and_vary() -> None:
    retries = Retries(first=1.0, longest=8.0)
    delays = [[retries.delay(failures) for _ in range(50)] for failures in (1, 3, 9)]
    assert all(0.5 <= delay <= 1.0 for delay in delays[0])
    assert all(2.0 <= delay <= 4.0 for delay in delays[1])
    assert all(4.0 <= delay <= 8.0 for delay in delays[2])
    assert len(set(delays[0])) > 10


@pytest.mark.parametrize(
    ("text", "scheme", "parameters"),
    [
        ('Bearer realm="https://a/t",service="s",scope="repository:x:pull"', "bearer", 3),
        ('Basic realm="Registry Realm"', "basic", 1),
        ('Basic realm="x", Bearer realm="https://a/t"', "bearer", 1),
        ("Negotiate", "negotiate", 0),
        ("", "", 0),
    ],
)
def test_challenges(text: str, scheme: str, parameters: int) -> None:
    found, values = parse_challenge(text)
    assert (found, len(values)) == (scheme, parameters)


def test_a_meter_tells_how_much_of_how_much_was_moved() -> None:
    stream = io.StringIO()
    progress = Progress(stream, events=stream)
    meter = Meter(progress, "sent")
    with progress.step("upload"):
        meter.add(5)
        meter.expect(100)
        meter.add(15)
    (measured,) = [event for event in map(json.loads, stream.getvalue().splitlines()) if event["event"] == "progress"]
    assert (measured["name"], measured["done"], measured["total"]) == ("sent", 20, 100)
    assert meter.moved == 20


def test_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "secret")
    assert parse_header("Private-Token: env:TOKEN") == ("Private-Token", "secret")
    assert parse_header("X-Name:  a: b ") == ("X-Name", "a: b")
    for text in ("hunter2", ": hunter2", "A B: hunter2", "A:", "A: hunter2\nB: x", "A: env:NOT_SET"):
        with pytest.raises(InputError) as error:
            parse_header(text)
        assert "hunter2" not in str(error.value)


def test_references() -> None:
    reference = parse_oci("oci://registry.example:5000/group/lab:stable")
    assert (reference.host, reference.repository, reference.tag) == ("registry.example:5000", "group/lab", "stable")
    assert parse_oci("oci://[::1]:5000/lab").host == "[::1]:5000"
    assert parse_oci(f"oci://host/lab@sha256:{'0' * 64}").digest == f"sha256:{'0' * 64}"
    for text in ("oci://host", "oci://host/Lab", "oci://host/lab:", "oci://host/lab@sha256:00", "oci://host//lab"):
        with pytest.raises(InputError):
            parse_oci(text)


def test_this_host() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.1.2.3", "::1")))
    assert not any(map(is_loopback, ("localhost.example", "10.0.0.1", "0.0.0.0", "registry")))


def test_what_a_server_says() -> None:
    assert server_says(b'{"errors":[{"code":"DENIED","message":"no\\nway"}]}') == "DENIED no way"
    assert server_says(b"<html>") == server_says(b'{"errors":5}') == server_says(b"[]") == server_says(b"") == ""
    assert [retry_after(value) for value in ("3", "-1", "soon", None)] == [3.0, 0.0, 0.0, 0.0]


def test_what_is_kept_is_checked(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "kept")
    digest = hashlib.sha256(b"data").hexdigest()
    assert kept.read(digest) is None
    kept.write(digest, b"data")
    assert kept.read(digest) == b"data"
    (tmp_path / "kept" / digest).write_bytes(b"dada")
    assert kept.read(digest) is None
    with kept.partial(digest) as first, kept.partial(digest) as second:
        first.write(b"mine")
        assert second.seek(0, 2) == 0
    with kept.partial(digest) as again:
        assert again.read() == b"mine"
    kept.clear()
    kept.clear()


def test_what_nobody_came_back_for_is_forgotten(tmp_path: Path) -> None:
    old, new, mine = (letter * 32 for letter in "abc")
    for name in (old, new, mine):
        Kept(tmp_path / "versions" / name).write("0" * 64, b"data")
    os.utime(tmp_path / "versions" / old, (1, 1))
    Kept(tmp_path / "versions" / mine).forget_old()
    assert sorted(path.name for path in (tmp_path / "versions").iterdir()) == [new, mine]


def test_what_a_clock_that_was_ahead_has_left_is_not_kept_until_then(tmp_path: Path) -> None:
    ahead, mine = (tmp_path / "versions" / (letter * 32) for letter in "ab")
    Kept(ahead).write("0" * 64, b"data")
    os.utime(ahead, (1 << 33, 1 << 33))
    Kept(mine).forget_old()
    assert ahead.stat().st_mtime < (1 << 33)
