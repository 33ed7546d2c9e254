"""What the NFS server of this host writes of its clients: clients decide what stands there, so it is read with care.

rmtab of mountd(8), for NFSv3: a line for what was mounted, and not unmounted in order. Anybody can add to it with one
call, and nobody takes away what a client that is long gone has left. /proc/fs/nfsd/clients/*/{info,states} of the
kernel's server, for NFSv4: every client with its open files; one that fell silent stays there as "courtesy" until
somebody else wants what it holds (Linux 5.19). A file's name stands in `states` as the client wrote it.
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from builder.model.text.escapes import escaped

RMTAB = Path("/var/lib/nfs/rmtab")
CLIENTS = Path("/proc/fs/nfsd/clients")
_MOST = 64 << 20  # bytes of rmtab that are read
_MOST_OF_CLIENT = 4 << 20  # and of what one client has open: some 25,000 files
_LINE = 16 << 10  # a path has 4096 bytes, and each can stand there as four
_INFO = 64 << 10
_SHOWN = 5
_SUPERBLOCK = re.compile(rb'superblock: "([0-9a-f]{1,3}):([0-9a-f]{1,5}):([0-9]{1,20})"')
_ADDRESS = re.compile(rb'^address: "?\[?([0-9a-fA-F.:]{2,45}?)\]?(?::[0-9]+)?"?$', re.MULTILINE)
_SILENT = re.compile(rb"^status: (?:courtesy|expirable)$", re.MULTILINE)

OpenFile = tuple[int, int]  # st_dev and st_ino


class TooMuchError(Exception):
    """There is more than anybody would write who only uses the server; the text says where."""


@dataclass(frozen=True)
class OpenFiles:
    """What a client of NFSv4 has open on any file system.

    silent: whether it may be gone; whole: whether these are all files
    """

    address: str
    files: Set[OpenFile]
    silent: bool
    whole: bool


def read_mounts(rmtab: Path, below: Path) -> Iterator[tuple[str, str]]:
    """Address and path of what was mounted below a directory, by rmtab; raises TooMuchError at the end of patience."""
    wanted = os.fsencode(below)
    try:
        file = open(rmtab, "rb", opener=_without_waiting)  # noqa: SIM115 - closed below
    except OSError:
        return
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return
        for line in _lines(file, _MOST):
            found = _mount(line) if wanted in line else None
            if found is not None and found[1].startswith(f"{below}/"):
                yield found


def read_opens(clients: Path) -> Iterator[OpenFiles]:
    """What each client has open."""
    for states in clients.glob("*/states"):
        try:
            with (states.parent / "info").open("rb") as info:
                said = info.read(_INFO)
            with states.open("rb") as file:
                files, whole = _opened(file)
        except OSError:
            continue  # it went meanwhile
        address = _ADDRESS.search(said)
        silent = _SILENT.search(said) is not None
        yield OpenFiles(address[1].decode() if address else "a client", files, silent, whole)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _opened(file: BinaryIO) -> tuple[set[OpenFile], bool]:
    files: set[OpenFile] = set()
    try:
        for line in _lines(file, _MOST_OF_CLIENT):
            place = _SUPERBLOCK.search(line)  # the first: a file's name, which comes later, may look like one
            if place is not None:
                files.add((os.makedev(int(place[1], 16), int(place[2], 16)), int(place[3])))
    except TooMuchError:
        return files, False
    return files, True


def describe_clients(addresses: Set[str]) -> str:
    """Some of them, as a terminal may see them, and how many more there are."""
    shown = [escaped(address) for address in sorted(addresses)[:_SHOWN]]
    more = len(addresses) - len(shown)
    return ", ".join([*shown, *([f"{more} more"] if more else [])])


def _mount(line: bytes) -> tuple[str, str] | None:
    """Address and path of a line HOST:PATH:COUNT; a host's name may be an IPv6 address, and has no slash."""
    host, slash, rest = line.rstrip(b"\n").partition(b":/")
    path, _, count = rest.rpartition(b":")
    if not slash or not path or count == b"0x00000000":
        return None
    # the server followed `..`: what was asked for is what it leads to
    return host.decode("utf-8", "replace")[:255], posixpath.normpath(f"/{os.fsdecode(path)}")


def _lines(file: BinaryIO, most: int) -> Iterator[bytes]:
    """Lines, of each no more than its beginning; raises TooMuchError after so many bytes."""
    left, whole = most, True
    while line := file.readline(_LINE):
        left -= len(line)
        if left < 0:
            raise TooMuchError(f"{file.name} has more than {most >> 20} MiB")
        if whole:
            yield line
        whole = line.endswith(b"\n")
