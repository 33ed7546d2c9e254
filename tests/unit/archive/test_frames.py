"""Frames: their sizes, where they are cut, and that an edit moves only the frames it touches."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass

import pytest
import zstandard

from builder.archive.frames import LARGEST, MEAN, SMALLEST, FrameWriter, compress, cuts_after
from builder.model.artifacts.index import Frame

KIB = 1 << 10


@dataclass(frozen=True)
class Written:
    """What a writer left: the output, its table, and the number of the frame that each member begins in."""

    data: bytes
    frames: list[Frame]
    starts: list[int]

    def plain(self, number: int) -> bytes:
        frame = self.frames[number]
        return zstandard.ZstdDecompressor().decompress(self.data[frame.offset : frame.offset + frame.size])


def write(members: Iterable[tuple[str, bytes]], piece: int = 10 * KIB) -> Written:
    output = io.BytesIO()
    writer, starts = FrameWriter(output), []
    for name, content in members:
        writer.begin(name.encode(), len(content))
        starts.append(writer.number)
        for position in range(0, len(content), piece):
            assert writer.write(content[position : position + piece]) == len(content[position : position + piece])
    frames = writer.close()
    return Written(output.getvalue(), frames, starts)


def content(name: str, size: int) -> bytes:
    """Bytes that do not compress."""
    return hashlib.shake_128(name.encode()).digest(size)


def name_that(cuts: bool, size: int) -> str:
    return next(name for name in map(str, range(10000)) if cuts_after(name.encode(), size) is cuts)


def tree(count: int = 2000) -> list[tuple[str, bytes]]:
    return [(f"file{number:05}", content(str(number), number * 7919 % (20 * KIB))) for number in range(count)]


def test_nothing_is_no_frame() -> None:
    assert write([]) == Written(b"", [], [])
    assert write([("empty", b"")]) == Written(b"", [], [0])


def test_the_table_describes_the_output() -> None:
    members = tree()
    written = write(members)
    assert len(written.frames) > 20
    assert [frame.offset for frame in written.frames] == [
        sum(frame.size for frame in written.frames[:number]) for number in range(len(written.frames))
    ]
    assert sum(frame.size for frame in written.frames) == len(written.data)
    for number, frame in enumerate(written.frames):
        data = written.data[frame.offset : frame.offset + frame.size]
        assert frame.sha256 == hashlib.sha256(data).hexdigest()
        assert frame.plain_size == len(written.plain(number))
        parameters = zstandard.get_frame_parameters(data)
        assert (parameters.content_size, parameters.has_checksum) == (frame.plain_size, True)
    assert b"".join(map(written.plain, range(len(written.frames)))) == b"".join(data for _, data in members)


def test_every_member_begins_in_the_frame_that_the_table_says() -> None:
    members = [(name, name.encode() + data) for name, data in tree()]
    written = write(members)
    for (name, _), number in zip(members, written.starts, strict=True):
        assert name.encode() in written.plain(number)


def test_frames_have_the_promised_sizes() -> None:
    sizes = [frame.plain_size for frame in write(tree(6000)).frames[:-1]]
    assert min(sizes) >= SMALLEST
    assert max(sizes) <= LARGEST
    assert 0.5 * MEAN < sum(sizes) / len(sizes) < 1.5 * MEAN


def test_no_frame_is_cut_before_the_smallest_size() -> None:
    size = SMALLEST - 1
    name = name_that(True, size)
    members = [(name, content("a", size)), ("next", b"x")]
    assert len(write(members).frames) == 1
    name = name_that(True, SMALLEST)
    assert len(write([(name, content("a", SMALLEST)), ("next", b"x")]).frames) == 2
    name = name_that(False, SMALLEST)
    assert len(write([(name, content("a", SMALLEST)), ("next", b"x")]).frames) == 1


@pytest.mark.parametrize(("size", "frames"), [(LARGEST - 10, 1), (LARGEST - 9, 2)])
def test_a_member_that_does_not_fit_begins_a_frame(size: int, frames: int) -> None:
    members = [("a", b"0123456789"), (name_that(False, 1), b""), ("b", content("b", size))]
    written = write(members)
    assert len(written.frames) == frames
    assert written.starts[-1] == frames - 1


@pytest.mark.parametrize("extra", [1, 512, LARGEST - 1, LARGEST, LARGEST + 1])
@pytest.mark.parametrize("piece", [512, 10 * KIB, 3 * LARGEST])
def test_a_large_member_lies_alone_in_pieces_counted_from_its_start(extra: int, piece: int) -> None:
    large = content("large", LARGEST + extra)
    written = write([("before", b"before"), ("large", large), ("after", b"after")], piece)
    sizes = [frame.plain_size for frame in written.frames]
    pieces = [LARGEST] * (len(large) // LARGEST) + [len(large) % LARGEST] * (len(large) % LARGEST > 0)
    assert sizes == [len(b"before"), *pieces, len(b"after")]
    assert written.starts == [0, 1, len(sizes) - 1]
    assert written.plain(1) == large[:LARGEST]


def test_the_largest_member_that_is_not_large_is_one_frame() -> None:
    assert [frame.plain_size for frame in write([("whole", content("whole", LARGEST))]).frames] == [LARGEST]


def changed_frames(before: Written, after: Written) -> int:
    return len({frame.sha256 for frame in after.frames} - {frame.sha256 for frame in before.frames})


def test_an_edit_changes_only_the_frame_it_lies_in() -> None:
    members = tree()
    before = write(members)
    name, data = members[1000]
    members[1000] = (name, data[:-1] + bytes([data[-1] ^ 1]))
    assert changed_frames(before, write(members)) == 1


def test_a_file_that_grows_or_comes_or_goes_changes_few_frames() -> None:
    members = tree()
    before = write(members)
    name, data = members[1000]
    grown = [*members[:1000], (name, data + b"more"), *members[1001:]]
    gone = [*members[:1000], *members[1001:]]
    come = [*members[:1000], ("file00999a", b"new"), *members[1000:]]
    for after in (grown, gone, come):
        assert 1 <= changed_frames(before, write(after)) <= 3


def test_a_piece_of_a_large_file_changes_one_frame() -> None:
    large = bytearray(content("large", 5 * LARGEST))
    before = write([("a", b"a"), ("large", bytes(large))])
    large[2 * LARGEST + 5] ^= 1
    assert changed_frames(before, write([("a", b"a"), ("large", bytes(large))])) == 1
    # and a change of the file before it moves no piece
    assert changed_frames(before, write([("a", b"longer than before"), ("large", bytes(large))])) == 2


def test_the_same_members_give_the_same_bytes_however_they_arrive() -> None:
    assert write(tree(500), piece=512).data == write(tree(500), piece=1 << 20).data


def test_cuts_depend_on_the_name_and_come_more_often_after_larger_members() -> None:
    names = [str(number).encode() for number in range(2000)]
    small, large = (sum(cuts_after(name, size) for name in names) for size in (KIB, 64 * KIB))
    assert small < large < len(names)
    assert all(cuts_after(name, MEAN - SMALLEST) for name in names)
    assert not any(cuts_after(name, 0) for name in names)


def test_a_frame_is_plain_zstd() -> None:
    frame, sha256 = compress(b"content" * 1000)
    assert zstandard.ZstdDecompressor().decompress(frame) == b"content" * 1000
    assert sha256 == hashlib.sha256(frame).hexdigest()


class FullDisk(io.BytesIO):
    def write(self, data: object) -> int:
        raise OSError(28, "No space left on device")


def test_a_full_disk_is_told_at_once() -> None:
    writer = FrameWriter(FullDisk())
    writer.begin(b"large", 50 * LARGEST)
    with pytest.raises(OSError, match="No space left"):
        for _ in range(50):
            writer.write(content("x", LARGEST))
    writer.abort()
