"""Java's store of certificates: made at two moments it becomes the same, and everything else stays as it is."""

from __future__ import annotations

import hashlib
import struct

import pytest

from builder.stages.parts.keystore import with_epoch

EPOCH = 1767312000


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack(">H", len(data)) + data


def entry(alias: str, moment: int, kind: int = 2) -> bytes:
    certificate = b"certificate of " + alias.encode()
    head = struct.pack(">I", kind) + text(alias) + struct.pack(">Q", moment)
    return head + text("X.509") + struct.pack(">I", len(certificate)) + certificate


def store(*entries: bytes, password: str = "changeit", count: int | None = None) -> bytes:
    body = b"\xfe\xed\xfe\xed" + struct.pack(">II", 2, len(entries) if count is None else count) + b"".join(entries)
    return body + hashlib.sha1(password.encode("utf-16-be") + b"Mighty Aphrodite" + body).digest()


def test_two_moments_become_one_and_the_store_stays_valid() -> None:
    older = entry("debian:old", (EPOCH - 5) * 1000)
    first, second = (store(older, entry("debian:a", EPOCH * 1000 + n), entry("debian:ü", 2**41)) for n in (1, 999_999))
    assert first != second
    wanted = store(older, entry("debian:a", EPOCH * 1000), entry("debian:ü", EPOCH * 1000))
    assert with_epoch(first, EPOCH) == with_epoch(second, EPOCH) == wanted
    assert with_epoch(wanted, EPOCH) == wanted


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xfe\xed\xfe\xed",
        b"-----BEGIN CERTIFICATE-----\n",
        store(entry("a", 2**41), password="mine"),
        store(entry("a", 2**41, kind=1)),
        store(entry("a", 2**41), count=2),
        store(entry("a", 2**41), count=2**32 - 1),
        store(entry("a", 2**41) + b"more", count=1),
        store(entry("a", 2**41)[:-1], count=1),
        store(entry("a", 2**41)) + b"\0",
    ],
)
def test_whatever_is_another_thing_stays(data: bytes) -> None:
    assert with_epoch(data, EPOCH) == data
