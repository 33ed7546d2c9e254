"""Disk images for server guests, made without mounting anything."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

_MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Drive:
    """One virtio disk, /dev/vda and so on in order; format: raw or qcow2; a volatile one forgets what is written."""

    path: Path
    format: str = "raw"
    read_only: bool = False
    volatile: bool = False

    def arguments(self) -> list[str]:
        """QEMU's."""
        options = [f"file={self.path}", f"format={self.format}", "if=virtio", "cache=writeback"]
        options += ["readonly=on"] if self.read_only else []
        options += ["snapshot=on"] if self.volatile else []
        return ["-drive", ",".join(options)]


def make_ext4(path: Path, tree: Path, *, room: int = 256, journal: bool = False) -> None:
    """An ext4 file system that holds a tree with everything that its files have; room: free MiB.

    Without a journal, for what is not written to, or thrown away.
    """
    size = sum(info.st_blocks * 512 + 4096 for info in (path.lstat() for path in tree.rglob("*")))
    make_empty(path, int(size * 1.2) + room * _MEGABYTE)
    features = "has_journal" if journal else "^has_journal"
    command = ["mke2fs", "-q", "-t", "ext4", "-O", features, "-m", "0", "-d", str(tree), str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def make_empty(path: Path, size: int) -> None:
    """A disk of `size` bytes that takes no space yet."""
    with path.open("xb") as file:
        file.truncate(size)


class ForgetfulDisk:
    """A disk with a volatile cache of its own: when its power is cut it loses all that was written since a flush.

    qcow2 makes it: what a fresh overlay has got is known only to tables that QEMU writes out when the guest flushes
    (docs/interop/qcow2.txt), so killing QEMU loses the rest, however long ago the guest wrote it. `settle` puts what
    is left into the disk below.
    """

    def __init__(self, base: Path) -> None:
        self._base = base
        self._overlay = base.with_suffix(".qcow2")

    def drive(self) -> Drive:
        """The disk, for one boot."""
        self._overlay.unlink(missing_ok=True)
        backing = ["-b", str(self._base), "-F", "raw"]
        _qemu_img("create", "-q", "-f", "qcow2", *backing, str(self._overlay))
        return Drive(self._overlay, "qcow2")

    def settle(self) -> None:
        """After the power cut."""
        _qemu_img("commit", "-q", "-f", "qcow2", str(self._overlay))


def _qemu_img(*arguments: str) -> None:
    subprocess.run(["qemu-img", *arguments], check=True, stdin=subprocess.DEVNULL)
