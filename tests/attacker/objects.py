"""What only the server knows of its files, and an attacker may guess: handles, inode numbers, generations, UUIDs."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import re
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from builder.system.handles import file_handle

_GENERATION = 0x80087601  # FS_IOC_GETVERSION, linux/fs.h


@dataclass(frozen=True)
class Volume:
    """A file system: the device number of its files, its UUID, and what statfs(2) calls it, two words."""

    device: int
    uuid: bytes
    statfs: bytes


@dataclass(frozen=True)
class Known:
    """A file or directory of the server: where its path leads, and what a handle of it is made of."""

    path: str
    volume: Volume
    inode: int
    generation: int
    kind: int
    handle: bytes
    parent: tuple[int, int]


def known(path: Path, *, parent: Path | None = None) -> Known:
    """Reads everything that there is to know of a path, without following a link."""
    found = file_handle(path)
    kind, handle = found or (1, bytes(8))
    above = parent or path.parent
    parents = (above.lstat().st_ino, _generation(above))
    info = path.lstat()
    generation = _generation(path)
    if not generation and kind == 1:
        generation = int.from_bytes(handle[4:8], "little")
    return Known(str(path), volume_of(path), info.st_ino, generation, kind, handle, parents)


def volume_of(path: Path) -> Volume:
    """The file system in which a path lies."""
    return _volume(path.lstat().st_dev, _filesystem_id(path))


@functools.cache
def _volume(device: int, statfs: bytes) -> Volume:
    return Volume(device, _uuid(device), statfs)


def _generation(path: Path) -> int:
    """0 where it cannot be asked for: links, pipes and some file systems."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            (number,) = struct.unpack_from("=I", fcntl.ioctl(descriptor, _GENERATION, bytes(8)))
            return int(number)
        finally:
            os.close(descriptor)
    return 0


def _filesystem_id(path: Path) -> bytes:
    """f_fsid, which Python does not give as it is."""
    said = subprocess.run(["stat", "-f", "-c", "%i", path], check=True, capture_output=True, text=True).stdout
    number = int(said, 16)
    return struct.pack("=II", number >> 32, number & 0xFFFFFFFF)


def _uuid(device: int) -> bytes:
    """Of the file system on a device; zeros where there is none, as of a tmpfs."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        said = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/uevent").read_text("ascii")
        name = re.search("^DEVNAME=(.*)$", said, re.M)
        if name is not None:
            command = ["blkid", "-p", "-o", "value", "-s", "UUID", f"/dev/{name[1]}"]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            return bytes.fromhex(said.strip().replace("-", "")).ljust(16, b"\0")[:16]
    return bytes(16)
