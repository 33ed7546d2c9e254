"""Headers that a small test cannot reach by content: a file of more than 8 GiB, whose size no plain header holds."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import libarchive
import pytest
import zstandard

from builder.archive.frames import FrameWriter
from builder.archive.writer import Member, _write_member
from builder.model.artifacts.index import FILE, FileRecord
from tests.require import needs_tool

GIB = 1 << 30


class HeaderIsWrittenError(Exception):
    """Raised instead of reading the content."""


def stop() -> io.BytesIO:
    raise HeaderIsWrittenError


def header_of(record: FileRecord) -> bytes:
    """What the writer puts before the content of a file."""
    output = io.BytesIO()
    frames = FrameWriter(output)
    with (
        pytest.raises(HeaderIsWrittenError),
        libarchive.custom_writer(
            lambda data: frames.write(data.raw), "pax_restricted", block_size=0, options="xattrheader=SCHILY"
        ) as archive,
    ):
        _write_member(archive._pointer, frames, Member(record, stop))
    (frame,) = frames.close()
    return zstandard.ZstdDecompressor().decompress(output.getvalue()[: frame.size])


@pytest.fixture(params=[8 * GIB - 1, 8 * GIB, 9 * GIB + 7], ids=["octal", "first-too-large", "larger"])
def large_archive(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, int]:
    """An archive whose one file is a hole."""
    size = int(request.param)
    record = FileRecord("var/large", FILE, 0o640, 1, 2, 1767312000, size, "", "", {"user.a": "00ff"}, 0)
    path = tmp_path / "large.tar"
    with path.open("wb") as file:
        header = header_of(record)
        assert len(header) % 512 == 0
        file.write(header)
        file.truncate(len(header) + (size + 511) // 512 * 512 + 1024)
    return path, size


def test_python_reads_the_size(large_archive: tuple[Path, int]) -> None:
    path, size = large_archive
    with tarfile.open(path) as archive:
        (member,) = archive.getmembers()
    assert (member.name, member.size, member.mode, member.uid, member.gid) == ("var/large", size, 0o640, 1, 2)
    assert member.pax_headers["SCHILY.xattr.user.a"].encode("utf-8", "surrogateescape") == b"\x00\xff"


@needs_tool("bsdtar")
@pytest.mark.parametrize("program", ["tar", "bsdtar"])
def test_other_programs_read_the_size(program: str, large_archive: tuple[Path, int]) -> None:
    path, size = large_archive
    listed = subprocess.run(
        [program, "--numeric-owner", "-tvf", path], capture_output=True, check=True, encoding="utf-8"
    )
    (line,) = listed.stdout.splitlines()
    assert str(size) in line.split()
    assert line.endswith(" var/large")
    assert listed.stderr == ""


def test_a_size_that_fits_needs_no_record_of_its_own() -> None:
    record = FileRecord("small", FILE, 0o644, 0, 0, 0, 8 * GIB - 1, "", "", {}, 0)
    assert len(header_of(record)) == 512
    assert b"size=" in header_of(FileRecord("large", FILE, 0o644, 0, 0, 0, 8 * GIB, "", "", {}, 0))
