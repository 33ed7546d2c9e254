"""File handles as nfs-ganesha makes them: include/nfs_fh.h, and FSAL_VFS/os/linux/handle_syscalls.c.

One byte of version, one of flags, the export's number, the length of the rest. The rest: one byte of fsid type and of
the width of the kernel's handle type, the fsid, that type, the kernel's handle. All of it is the client's to change.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from tests.attacker.objects import Known, Volume

VERSION = 0x43
# fsid types: fsal_api.h
NO_FSID, ONE_LONG, MAJOR_LONG, TWO_LONGS, TWO_WORDS, DEVICE = range(6)
_SIZES = {NO_FSID: 0, ONE_LONG: 8, MAJOR_LONG: 8, TWO_LONGS: 16, TWO_WORDS: 8, DEVICE: 8}
DUMMY = 0x20  # for file systems without handles: their top directory, and nothing is checked
_WIDTHS = {0x40: "=B", 0x80: "=h", 0xC0: "=i"}
_BOTH = 0xC0


@dataclass(frozen=True)
class Wire:
    """A handle in its parts; `fsid` is a type and its bytes, `kernel` what open_by_handle_at(2) gets."""

    export: int
    fsid: tuple[int, bytes]
    kernel: tuple[int, bytes]
    width: int = 0x40
    flags: int = 0
    dummy: bool = False

    def packed(self, *, aligned: bool = False) -> bytes:
        """As it is sent; with NFSv3 it fills whole words."""
        head = bytes([self.fsid[0] | self.width | (DUMMY if self.dummy else 0)])
        kind = struct.pack(_WIDTHS[self.width], self.kernel[0]) if not self.dummy and self.width else b""
        rest = head + self.fsid[1] + kind + (b"" if self.dummy else self.kernel[1])
        handle = struct.pack("!BBHB", VERSION, self.flags, self.export, len(rest)) + rest
        return handle + (bytes(-len(handle) % 4) if aligned else b"")


def parse(handle: bytes) -> Wire:
    """The parts of an honest handle; ValueError for one of another kind, as above the exports."""
    version, flags, export, length = struct.unpack_from("!BBHB", handle)
    rest = handle[5 : 5 + length]
    size = _SIZES.get(rest[0] & 0x1F)
    width = rest[0] & _BOTH
    if version != VERSION or export == 0 or size is None or width not in _WIDTHS:
        raise ValueError(handle.hex())
    at = 1 + size
    (kind,) = struct.unpack_from(_WIDTHS[width], rest, at)
    return Wire(
        export, (rest[0] & 0x1F, rest[1:at]), (kind, rest[at + struct.calcsize(_WIDTHS[width]) :]), width, flags
    )


def try_parse(handle: bytes) -> Wire | None:
    """The same, or None."""
    try:
        return parse(handle)
    except (ValueError, IndexError, struct.error):
        return None


def ends_ganesha(handle: bytes) -> bool:
    """Whether it is one that nfs-ganesha 4.3 dies of: of a file system's top without a handle of it.

    It takes the length of the kernel's handle for a number without a sign and copies -1 bytes.
    """
    if len(handle) < 6 or handle[0] != VERSION or not handle[5] & DUMMY:
        return False
    size = _SIZES.get(handle[5] & 0x1F)
    return size is not None and handle[4] == 1 + size


def fsids_of_volume(volume: Volume) -> Iterable[tuple[int, bytes]]:
    """Every way in which it may name a file system."""
    major, minor = volume.device >> 8 & 0xFFF, volume.device & 0xFF
    yield TWO_LONGS, volume.uuid
    yield TWO_WORDS, volume.statfs
    yield TWO_WORDS, volume.statfs[4:] + volume.statfs[:4]
    yield DEVICE, struct.pack("=II", major, minor)
    yield ONE_LONG, volume.statfs
    yield MAJOR_LONG, volume.statfs


def wires(honest: Wire, export: int, fsid: tuple[int, bytes], wanted: Known) -> Iterable[Wire]:
    """Handles of a file under an export and a file system that may be its own or not."""
    base = dataclasses.replace(honest, export=export, fsid=fsid, kernel=(wanted.kind, wanted.handle))
    yield base
    for width in _WIDTHS:
        if width != honest.width:
            yield dataclasses.replace(base, width=width)
    if wanted.kind == 1:
        yield dataclasses.replace(base, kernel=(1, wanted.handle[:4] + bytes(4)))
        parent = struct.pack("=II", wanted.parent[0], wanted.parent[1])
        yield dataclasses.replace(base, kernel=(2, wanted.handle + parent))
