"""Java's store of trusted certificates: each entry has the moment when it was added, which becomes the epoch.

Source: the format JKS as OpenJDK's class JavaKeyStore documents it: big-endian numbers, texts with two bytes of length,
and at the end a SHA-1 of the password, a phrase, and all that came before.
"""

from __future__ import annotations

import hashlib
import struct

_MAGIC = b"\xfe\xed\xfe\xed\0\0\0\x02"
_TRUSTED = 2  # the kind of an entry: a certificate, and no key
_PASSWORD = "changeit"  # Java's own for what is no secret
_PHRASE = b"Mighty Aphrodite"
_DIGEST = 20


class _NoStoreError(Exception):
    """What is read is something else."""


def with_epoch(data: bytes, epoch: int) -> bytes:
    """The same store with no entry younger than `epoch`, seconds.

    `data` itself where it is another format, has keys, or another password: it is somebody's own then.
    """
    body, digest = data[:-_DIGEST], data[-_DIGEST:]
    if not data.startswith(_MAGIC) or _digest(body) != digest:
        return data
    try:
        changed = _clamp(bytearray(body), epoch * 1000)
    except (_NoStoreError, struct.error):
        return data
    return changed + _digest(changed)


def _digest(body: bytes) -> bytes:
    return hashlib.sha1(_PASSWORD.encode("utf-16-be") + _PHRASE + body, usedforsecurity=False).digest()


def _clamp(body: bytearray, latest: int) -> bytes:
    """Goes through the entries; milliseconds."""
    (count,) = struct.unpack_from(">I", body, len(_MAGIC))
    position = len(_MAGIC) + 4
    for _ in range(count):
        (kind,) = struct.unpack_from(">I", body, position)
        if kind != _TRUSTED:
            raise _NoStoreError
        position = _after_text(body, position + 4)
        (moment,) = struct.unpack_from(">Q", body, position)
        struct.pack_into(">Q", body, position, min(moment, latest))
        position = _after_text(body, position + 8)
        (size,) = struct.unpack_from(">I", body, position)
        position += 4 + size
    if position != len(body):
        raise _NoStoreError
    return bytes(body)


def _after_text(body: bytearray, position: int) -> int:
    (size,) = struct.unpack_from(">H", body, position)
    return position + 2 + int(size)
