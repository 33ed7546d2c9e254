"""File handles as the kernel's NFS server makes them: fs/nfsd/nfsfh.h, and match_fsid() of nfs-utils' mountd.

One byte each of version (1), authentication (0), fsid type and fileid type; then the fsid, which names an export, and
the fileid, which the file system understands.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable

from tests.attacker.objects import Known

ROOT, NUMBERED, NUMBERED_PARENT = 0, 1, 2  # FILEID_ROOT, FILEID_INO32_GEN, FILEID_INO32_GEN_PARENT of exportfs.h
NUMBERED_64 = 0x81  # of XFS with 64 bits
BTRFS = 0x4D
FSID_NUMBER = 1


def kernel_handle(fsid: tuple[int, bytes], fileid: tuple[int, bytes]) -> bytes:
    """A handle of a type and bytes of both kinds."""
    return bytes([1, 0, fsid[0], fileid[0] & 0xFF]) + fsid[1] + fileid[1]


def numbered_fsid(number: int) -> tuple[int, bytes]:
    """The fsid of an export that has `fsid=` in its options."""
    return FSID_NUMBER, struct.pack("=I", number)


def fsids_of(directory: Known) -> Iterable[tuple[int, bytes]]:
    """Every other way to name the export of a directory: by device and inode, by UUID."""
    major, minor = os.major(directory.volume.device), os.minor(directory.volume.device)
    inode = directory.inode & 0xFFFFFFFF
    encoded = minor & 0xFF | major << 8 | (minor & ~0xFF) << 12  # new_encode_dev() of linux/kdev_t.h
    yield 0, struct.pack("!I", major << 16 | minor & 0xFFFF) + struct.pack("=I", inode)
    yield 2, struct.pack("!II", major, minor) + struct.pack("=I", inode)
    yield 3, struct.pack("=II", encoded, inode)
    yield 4, struct.pack("=I", inode) + _folded(directory.volume.uuid, 4)
    yield 5, _folded(directory.volume.uuid, 8)
    for identity in (directory.volume.uuid, directory.volume.statfs + bytes(8)):
        yield 6, identity
        yield 7, struct.pack("=Q", directory.inode) + identity


def fileids_of(wanted: Known) -> Iterable[tuple[int, bytes]]:
    """Every way to name a file within its file system, as it is and with generation 0."""
    yield wanted.kind, wanted.handle
    for generation in dict.fromkeys((wanted.generation, 0)):
        inode = struct.pack("=II", wanted.inode & 0xFFFFFFFF, generation)
        yield NUMBERED, inode
        yield NUMBERED_PARENT, inode + struct.pack("=II", wanted.parent[0] & 0xFFFFFFFF, wanted.parent[1])
        yield NUMBERED_64, struct.pack("=QI", wanted.inode, generation)
        yield NUMBERED_64 + 1, struct.pack("=QIQI", wanted.inode, generation, *wanted.parent)
        yield from _of_btrfs(wanted, generation)


def _of_btrfs(wanted: Known, generation: int) -> Iterable[tuple[int, bytes]]:
    """btrfs_fid of fs/btrfs/export.h: object, tree, generation; 5 is the tree at the top, 256 to 260 are subvolumes."""
    own = int.from_bytes(wanted.handle[8:16], "little") if wanted.kind == BTRFS else 0
    for tree in dict.fromkeys((own, 5, 256, 257, 258, 259)):
        yield BTRFS, struct.pack("=QQI", wanted.inode, tree, generation)


def numbered(inode: int, generation: int = 0) -> Iterable[tuple[int, bytes]]:
    """An inode by its number."""
    yield NUMBERED, struct.pack("=II", inode, generation)
    yield NUMBERED_64, struct.pack("=QI", inode, generation)


def special() -> Iterable[tuple[int, bytes]]:
    """The root of a file system without any number, and types that mean something to some file system or to nobody."""
    yield ROOT, b""
    for kind in (3, 0x4D, 0x4E, 0x4F, 0x51, 0x52, 0x61, 0x62, 0x71, 0x82, 0xB0, 0xF1, 0xFE, 0xFF):
        yield kind, struct.pack("=10I", 2, 0, 2, 0, 5, 0, 0, 0, 0, 0)


def _folded(uuid: bytes, size: int) -> bytes:
    """A UUID of fewer bytes, as get_uuid() of nfs-utils does it: one part upon the other."""
    folded = bytearray(size)
    for position, value in enumerate(uuid):
        folded[position % size] ^= value
    return bytes(folded)
