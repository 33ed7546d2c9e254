"""Reading the names in an initramfs: any number of plain cpio archives, then a compressed one.

Source: the kernel's buffer-format.rst (initramfs) and cpio(5), the new ASCII format.
"""

from __future__ import annotations

import re
from pathlib import Path

import libarchive

from builder.errors import AuditError

_MAGICS = (b"070701", b"070702")
_HEADER = 110
_DIGITS = re.compile(rb"[0-9A-Fa-f]{110}")
_TRAILER = "TRAILER!!!"


def initramfs_names(path: Path) -> set[str]:
    """The paths in an initramfs, relative; AuditError when it cannot be read to its end."""
    data = path.read_bytes()
    names: set[str] = set()
    position = 0
    while data[position : position + 6] in _MAGICS:
        found, position = _plain_names(data, position)
        names |= found
    if position == len(data):
        return names
    try:
        with libarchive.memory_reader(data[position:], "cpio") as members:
            return names | {member.pathname.removeprefix("./") for member in members}
    except libarchive.ArchiveError as error:
        raise AuditError(
            f"{path.name} is not a readable initramfs: {error}", "was its generator interrupted?"
        ) from error


def _plain_names(data: bytes, position: int) -> tuple[set[str], int]:
    """The names of the uncompressed archive at `position`, and where the next one begins."""
    names = set()
    while data[position : position + 6] in _MAGICS:
        header = data[position : position + _HEADER]
        if _DIGITS.fullmatch(header) is None:
            raise AuditError(f"no readable cpio archive at byte {position}", "was its generator interrupted?")
        size, length = int(header[54:62], 16), int(header[94:102], 16)
        start = position + _HEADER
        name = data[start : start + length - 1].decode("utf-8", "replace")
        position = _aligned(_aligned(start + length) + size)
        if name == _TRAILER:
            break
        names.add(name.removeprefix("./"))
    while position < len(data) and data[position] == 0:
        position += 1
    return names, position


def _aligned(position: int) -> int:
    return (position + 3) & ~3
