"""Headers of tar members as our archives have them: ustar, with pax records where a value does not fit, pax(1).

Strict, and for our archives only: what no record of the index can have is an error, and nothing to be lenient about.
libarchive reads them as well, in a call for each field; a deploy reads fifteen thousand.
"""

from __future__ import annotations

import functools
import re
import struct
import urllib.parse
from collections.abc import Callable, Mapping

from builder.model.artifacts.index import DIRECTORY, FILE, HARDLINK, SYMLINK

BLOCK = 512
# what of a FileRecord a header says, in this order
FIELDS = ("path", "type", "mode", "uid", "gid", "mtime", "size", "link", "xattrs")
Header = tuple[str, str, int, int, int, int, int, str, Mapping[str, str]]

_USTAR = struct.Struct("100s8s8s8s12s12s8sc100s8s80x155s12x")
_MAGIC = b"ustar\x0000"
_TYPES = {b"0": FILE, b"1": HARDLINK, b"2": SYMLINK, b"5": DIRECTORY}
_PAX = b"x"
_LARGEST_PAX = 4 << 20  # of all records of a member: a kernel takes attributes of 64 KiB
_OCTAL = re.compile(rb" *([0-7]*)[ \0]*")
_XATTR = "SCHILY.xattr."
_NUMBERS, _TEXTS = ("uid", "gid", "size", "mtime"), ("path", "linkpath")


def read_header(read: Callable[[int], bytes]) -> Header | None:
    """The next member's header; `read` gives so many bytes, fewer at the end. None at the end of the archive.

    Raises ValueError, which says what is wrong.
    """
    block = read(BLOCK)
    if not block or block == bytes(BLOCK):
        return None
    records: Mapping[str, bytes] = {}
    if block[156:157] == _PAX:
        records = _pax_records(_padded(read, _number(_unpacked(block)[4])))
        block = read(BLOCK)
    name, mode, uid, gid, size, mtime, _, kind, link, _, prefix = _unpacked(block)
    if kind not in _TYPES:
        raise ValueError(f"a member is of type {kind!r}")
    found = _TYPES[kind]
    path = _text(records.get("path") or _joined(prefix, name))
    length = _integer(records, "size", size)
    if found != FILE and length:
        raise ValueError(f"{path!r} has a size, and is not a file")
    return (
        path.removesuffix("/") if found == DIRECTORY else path,
        found,
        _number(mode),
        _integer(records, "uid", uid),
        _integer(records, "gid", gid),
        _integer(records, "mtime", mtime),
        length,
        _text(records.get("linkpath") or link.partition(b"\0")[0]) if found in (SYMLINK, HARDLINK) else "",
        {key.removeprefix(_XATTR): value.hex() for key, value in records.items() if key.startswith(_XATTR)},
    )


def _unpacked(block: bytes) -> tuple[bytes, ...]:
    if len(block) != BLOCK:
        raise ValueError("it ends within a header")
    fields = _USTAR.unpack(block)
    total = sum(block) - sum(fields[6]) + 8 * ord(" ")
    if fields[9] != _MAGIC or _number(fields[6]) != total:
        raise ValueError("a header is damaged")
    return fields


def _padded(read: Callable[[int], bytes], size: int) -> bytes:
    if size > _LARGEST_PAX:
        raise ValueError(f"a header has {size} bytes of records")
    data = read(size + -size % BLOCK)
    if len(data) < size:
        raise ValueError("it ends within a header")
    return data[:size]


def _pax_records(data: bytes) -> dict[str, bytes]:
    r"""Each is `LENGTH KEY=VALUE\n`, where LENGTH counts all of it."""
    records: dict[str, bytes] = {}
    while data:
        digits, _, _ = data[:20].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        key, equals, value = data[len(digits) + 1 : length].partition(b"=")
        if not equals or length > len(data) or not value.endswith(b"\n"):
            raise ValueError("a header's records are damaged")
        # libarchive writes names of attributes as URLs have them
        name = urllib.parse.unquote_to_bytes(key).decode("utf-8", "backslashreplace")
        if name in records or not (name in _NUMBERS or name in _TEXTS or name.startswith(_XATTR)):
            raise ValueError(f"a header has the record {name!r}, or has it twice")
        records[name] = value[:-1]
        data = data[length:]
    return records


def _joined(prefix: bytes, name: bytes) -> bytes:
    name, prefix = name.partition(b"\0")[0], prefix.partition(b"\0")[0]
    return prefix + b"/" + name if prefix else name


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"the name {value!r} is not UTF-8") from error


def _integer(records: Mapping[str, bytes], key: str, field: bytes) -> int:
    value = records.get(key)
    if value is None:
        return _number(field)
    if not value.removeprefix(b"-").isdigit():
        raise ValueError(f"{key} is {value!r}")
    return int(value)


@functools.lru_cache(maxsize=4096)  # modes, owners and times come again and again
def _number(field: bytes) -> int:
    found = _OCTAL.fullmatch(field)
    if found is None:
        raise ValueError(f"a header has the number {field!r}")
    return int(found[1] or b"0", 8)
