"""What is mounted where, proc_pid_mountinfo(5)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MOUNTINFO = Path("/proc/self/mountinfo")


@dataclass(frozen=True)
class Mount:
    """One mount of this mount namespace.

    device: MAJOR:MINOR; root: the directory of the file system that is seen there; point: where
    kind: the file system's name, e.g. ext4; source: what is mounted, such as a device
    """

    device: str
    root: str
    point: str
    kind: str
    source: str


def mounts() -> Iterator[Mount]:
    """Every mount, in the order in which they were made: of two on one point the later one is seen."""
    for line in _MOUNTINFO.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        fields = line.split()
        kind, source = fields[fields.index("-") + 1 : fields.index("-") + 3]
        yield Mount(fields[2], _plain(fields[3]), _plain(fields[4]), kind, _plain(source))


def mount_at(path: Path) -> Mount | None:
    """What is mounted at `path`, which links may lead to; None where it is an ordinary directory, or is not there."""
    real = os.path.realpath(path)
    found = None
    for mount in mounts():
        if mount.point == real:
            found = mount
    return found


def is_own_filesystem(path: Path) -> bool:
    """Whether `path` is the top directory of a file system, and not a directory or subvolume of one."""
    mount = mount_at(path)
    return mount is not None and mount.root == "/"


def is_below(path: str, top: str) -> bool:
    """Whether a real path is `top` or lies below it."""
    return path == top or path.startswith(top.rstrip("/") + "/")


def _plain(text: str) -> str:
    r"""With the bytes that \ooo stands for, of names in any encoding."""
    octal = text.encode("utf-8", "surrogateescape")
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), octal))
