"""Directories that hand down whatever a file system can: what is made in them is not what was asked for."""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

from builder.system.private_mounts import private_mounts

KINDS = ("ext4", "xfs", "btrfs", "tmpfs")
GROUP = 4711  # nobody's
_MAKE = {
    "ext4": ("mkfs.ext4", "-q", "-F"),
    "xfs": ("mkfs.xfs", "-q", "-f"),
    "btrfs": ("mkfs.btrfs", "-q", "-f"),
}
_ACL_VERSION = 2
# tag, permissions, id: the owner, a user, the group, a group, the mask, others; acl(5), linux/posix_acl_xattr.h
_ENTRIES = ((1, 7, 2**32 - 1), (2, 7, 1234), (4, 7, 2**32 - 1), (8, 7, GROUP), (16, 7, 2**32 - 1), (32, 5, 2**32 - 1))
ACL = struct.pack("<I", _ACL_VERSION) + b"".join(struct.pack("<HHI", *entry) for entry in _ENTRIES)


def make_inheriting(directory: Path, kind: str = "") -> Path:
    """A directory of mode 2775 with a group and default ACL of its own, and what else its file system hands down."""
    directory.mkdir(mode=0o755, exist_ok=True)
    os.chown(directory, -1, GROUP)
    directory.chmod(0o2775)
    for name in ("system.posix_acl_access", "system.posix_acl_default"):
        os.setxattr(directory, name, ACL)
    directory.chmod(0o2775)
    if kind == "ext4":  # projects take a kernel with quotas
        _run("chattr", "+dSA", directory)
    elif kind == "xfs":
        _run("chattr", "-p", "42", "+PdSA", directory)
    elif kind == "btrfs":
        os.setxattr(directory, "btrfs.compression", b"zstd")
        _run("chattr", "+dSA", directory)
    return directory


@contextlib.contextmanager
def file_system(kind: str, place: Path, options: str = "", size: str = "8G") -> Iterator[Path]:
    """An empty file system in mounts of this thread's own, in a sparse file below PLACE."""
    point = place / kind
    point.mkdir()
    with private_mounts():
        if kind == "tmpfs":
            _run("mount", "-t", "tmpfs", "-o", f"mode=0755{options}", "none", point)
        else:
            image = place / f"{kind}.image"
            _run("truncate", "-s", size, image)
            _run(*_MAKE[kind], image)
            _run("mount", "-o", f"loop{options}", image, point)
        point.chmod(0o755)
        try:
            yield point
        finally:
            _run("umount", "--lazy", point)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)
