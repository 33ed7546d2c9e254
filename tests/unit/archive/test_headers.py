"""Headers of tar members: what our writer writes is read as libarchive reads it; whatever else is refused."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Callable
from pathlib import Path

import libarchive
import pytest
import zstandard

from builder.archive.headers import BLOCK, FIELDS, read_header
from builder.archive.members import set_names_to_utf8
from builder.archive.writer import Member, write_archive
from builder.model.artifacts.index import DIRECTORY, FILE, HARDLINK, SYMLINK, FileRecord

EPOCH = 1_700_000_000


def block(name: str = "a", **fields: object) -> bytes:
    """One header as Python's tarfile writes it."""
    info = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.USTAR_FORMAT)


def damaged(place: int, data: bytes, *, checksum: bool = True) -> bytes:
    """A header with other bytes at `place`, its checksum right again."""
    header = bytearray(block())
    header[place : place + len(data)] = data
    if checksum:
        header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 8 * 32)
    return bytes(header)


def pax(*records: bytes, size: int | None = None) -> bytes:
    """A member behind a header of records."""
    content = b"".join(records)
    header = block("PaxHeader/a", type=tarfile.XHDTYPE, size=len(content) if size is None else size)
    return header + content + bytes(-len(content) % BLOCK) + block()


def said(key: str, value: bytes) -> bytes:
    """A pax record, which counts its own length."""
    rest = b" " + key.encode() + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length += 1
    return str(length).encode() + rest


def reader(data: bytes) -> Callable[[int], bytes]:
    return io.BytesIO(data).read


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (block()[:300], "within a header"),
        (damaged(0, b"b", checksum=False), "damaged"),
        (damaged(148, b"xxxxxx", checksum=False), "number"),
        (damaged(257, b"ustar  \0"), "damaged"),  # GNU's
        (damaged(257, bytes(8)), "damaged"),  # of before POSIX
        (damaged(100, b"0o644 \0"), "number"),
        (damaged(100, b"000 644"), "number"),
        (damaged(124, b"-0000000001"), "number"),
        (damaged(124, b"\x80" + bytes(10) + b"\x01"), "number"),  # base 256
        (damaged(0, b"\xff\xfe"), "UTF-8"),
        (block(type=tarfile.CHRTYPE), "type"),
        (block(type=tarfile.BLKTYPE), "type"),
        (block(type=tarfile.FIFOTYPE), "type"),
        (block(type=tarfile.CONTTYPE), "type"),
        (block(type=tarfile.GNUTYPE_SPARSE), "type"),
        (block(type=tarfile.GNUTYPE_LONGNAME), "type"),
        (block(type=tarfile.XGLTYPE), "type"),
        (damaged(156, b"\0"), "type"),
        (block(type=tarfile.DIRTYPE, size=1), "size"),
        (block(type=tarfile.SYMTYPE, size=1), "size"),
        (block(type=tarfile.LNKTYPE, size=1), "size"),
        (pax(said("path", b"x"), said("path", b"y")), "twice"),
        (pax(said("GNU.sparse.size", b"1")), "record"),
        (pax(said("hdrcharset", b"BINARY")), "record"),
        (pax(said("mtime", b"1.5")), "mtime"),
        (pax(said("size", b"0x10")), "size"),
        (pax(said("size", b"-")), "size"),
        (pax(said("path", b"\xff")), "UTF-8"),
        (pax(b"9 path=x\n", size=5), "records"),
        (pax(b"0 path=x\n"), "records"),
        (pax(b"99 path=x\n"), "records"),
        (pax(b"x path=x\n"), "records"),
        (pax(b"10 path=xy"), "records"),
        (pax(b"7 path\n"), "records"),
        (pax(said("path", b"x"), size=5 << 20), "bytes of records"),
        (pax(said("path", b"x"))[: BLOCK + 4], "within a header"),
        (pax(said("path", b"x"))[: 2 * BLOCK], "within a header"),
        (pax()[:BLOCK] * 2 + block(), "type"),
    ],
)
def test_what_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_header(reader(data))


@pytest.mark.parametrize("data", [b"", bytes(BLOCK), bytes(2 * BLOCK)])
def test_the_end(data: bytes) -> None:
    assert read_header(reader(data)) is None


def some_record(chance: random.Random, number: int) -> FileRecord:
    """A record with values at the limits of what fields of a header hold."""
    kind = chance.choice((DIRECTORY, FILE, SYMLINK, HARDLINK))
    lengths = (1, 99, 100, 101, 155, 156, 254)
    words = [chance.choice("abcü日") * (chance.choice(lengths) // 3 + 1) for _ in range(chance.randrange(1, 4))]
    path = "/".join([f"{number}", *words])
    link = "".join(chance.choice("ab/ü") for _ in range(chance.choice(lengths))) if kind in (SYMLINK, HARDLINK) else ""
    xattrs = {}
    if kind != HARDLINK and chance.random() < 0.3:
        xattrs = {
            f"user.{word}": chance.randbytes(chance.choice((0, 1, 20, 3000))).hex() for word in ("a", "ü=", "b c")
        }
    ids = (0, 1, 0o7777777, 0o10000000, 2**32 - 2)
    times = (0, 1, EPOCH, 0o77777777777, 0o100000000000, -1)
    mode = chance.choice((0, 0o644, 0o4755, 0o7777))
    return FileRecord(
        path, kind, mode, chance.choice(ids), chance.choice(ids), chance.choice(times), 0, "", link, xattrs, 0
    )


def test_headers_are_read_as_libarchive_reads_them(tmp_path: Path) -> None:
    chance = random.Random(7)
    records = [some_record(chance, number) for number in range(400)]
    members = [Member(record, io.BytesIO if record.type == FILE else None) for record in records]
    write_archive(iter(members), tmp_path / "a.tar.zst")
    with zstandard.open(tmp_path / "a.tar.zst", "rb") as plain:
        data = plain.read()
    read = reader(data)
    set_names_to_utf8()
    with libarchive.memory_reader(data, "tar") as members_again:
        for record, member in zip(records, members_again, strict=True):
            header = read_header(read)
            assert header == tuple(getattr(record, field) for field in FIELDS)
            path = member.pathname.removesuffix("/")
            assert header[:1] + header[2:7] == (
                path,
                member.mode & 0o7777,
                member.uid,
                member.gid,
                member.mtime,
                member.size or 0,
            )
            assert header[7] == (member.linkpath or "")
    assert read_header(read) is None
