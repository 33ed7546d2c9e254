"""What an EFI program says of itself: who signed it, and its generation in the revocation list of shim (SBAT).

Sources: Microsoft's PE format (optional header, attribute certificate table); shim's SBAT.md. A signature is only found
here, never checked: that is what firmware and shim do.
"""

from __future__ import annotations

import csv
import struct
from collections.abc import Iterable
from dataclasses import dataclass

_SECURITY = 4  # of the data directories
_PE32_PLUS = 0x20B
_HEADER = struct.Struct("<IHH")  # WIN_CERTIFICATE: length, revision, type
_PKCS7 = 2
# the authorities whose keys are in the firmware of PCs, by the name in their certificates
AUTHORITIES = {2011: b"Microsoft Corporation UEFI CA 2011", 2023: b"Microsoft UEFI CA 2023"}
_LARGEST_HEADER = 4096
_VERSION = 4  # column of .sbat
_LARGEST_SBAT = 1 << 16  # bytes; those of GRUB have some hundreds
_GENERATION_DIGITS = 9


@dataclass(frozen=True)
class SbatEntry:
    """A line of the section .sbat: a component, its generation, and the version of the package that it came in."""

    component: str
    generation: int
    version: str


@dataclass(frozen=True)
class EfiProgram:
    """A PE file. signatures: the bytes of each PKCS #7 signature; sbat: empty where it has no such section."""

    signatures: tuple[bytes, ...]
    sbat: tuple[SbatEntry, ...]

    @property
    def authorities(self) -> tuple[int, ...]:
        """The years of Microsoft's authorities that signed it."""
        return tuple(
            year for year, name in AUTHORITIES.items() if any(name in signature for signature in self.signatures)
        )

    def is_signed_by(self, name: str) -> bool:
        """Whether a certificate in some signature has this word in a name."""
        return any(name.encode() in signature for signature in self.signatures)

    def version_of(self, component: str) -> str | None:
        """The package's version of an SBAT component."""
        return next((entry.version for entry in self.sbat if entry.component == component), None)


def read_efi_program(content: bytes) -> EfiProgram | None:
    """What a file says of itself; None where it is no PE file: a kernel for BIOS only, or damaged."""
    try:
        return _read(content)
    except (struct.error, ValueError):
        return None


def _read(content: bytes) -> EfiProgram:
    start = _u32(content, 0x3C)
    if content[:2] != b"MZ" or start > _LARGEST_HEADER or content[start : start + 4] != b"PE\0\0":
        raise ValueError("no PE file")
    sections, optional_size = _u16(content, start + 6), _u16(content, start + 20)
    optional = start + 24
    directories = optional + (112 if _u16(content, optional) == _PE32_PLUS else 96)
    offset, size = struct.unpack_from("<II", content, directories + 8 * _SECURITY)
    table = optional + optional_size
    headers = (content[table + 40 * number : table + 40 * (number + 1)] for number in range(sections))
    return EfiProgram(_signatures(content[offset : offset + size] if size else b""), _sbat(content, headers))


def _signatures(table: bytes) -> tuple[bytes, ...]:
    found = []
    position = 0
    while position + _HEADER.size <= len(table):
        length, _, kind = _HEADER.unpack_from(table, position)
        if length < _HEADER.size:
            break
        if kind == _PKCS7:
            found.append(table[position + _HEADER.size : position + length])
        position += (length + 7) & ~7
    return tuple(found)


def _sbat(content: bytes, headers: Iterable[bytes]) -> tuple[SbatEntry, ...]:
    for header in headers:
        if header[:8].rstrip(b"\0") == b".sbat":
            size, offset = struct.unpack_from("<II", header, 16)
            return _sbat_entries(content[offset : offset + size]) if size <= _LARGEST_SBAT else ()
    return ()


def _sbat_entries(section: bytes) -> tuple[SbatEntry, ...]:
    """What is no line of it, or would change what a terminal shows, is passed over."""
    text = section.rstrip(b"\0").decode("utf-8", "replace")
    try:
        rows = list(csv.reader(text.splitlines()))
    except csv.Error:
        return ()
    return tuple(SbatEntry(row[0], int(row[1]), row[_VERSION]) for row in rows if _is_entry(row))


def _is_entry(row: list[str]) -> bool:
    if len(row) <= _VERSION or not "".join(row).isprintable():
        return False
    generation = row[1]
    return generation.isascii() and generation.isdigit() and len(generation) <= _GENERATION_DIGITS


def _u16(content: bytes, offset: int) -> int:
    return int(struct.unpack_from("<H", content, offset)[0])


def _u32(content: bytes, offset: int) -> int:
    return int(struct.unpack_from("<I", content, offset)[0])
