"""File systems that a lab makes for itself and throws away: what a guest can do to its server ends at their edge.

A file handle names any file of the file system that an exported directory lies on, so each has one of its own: ext4 in
an image file on a loop device, or a tmpfs where the host has no loop devices. Both are gone with the mount namespace
that they are mounted in, and the loop device with its mount (mount(8), loop; LO_FLAGS_AUTOCLEAR of loop(4)).
"""

from __future__ import annotations

import contextlib
import enum
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.errors import HostError
from builder.model.text.quantity import format_bytes
from builder.system.private_mounts import detach
from builder.system.privileges.confinement import read_confinement
from builder.system.privileges.permissions import Permission, ask, describe_refusal
from builder.system.run import CLEAN_ENVIRONMENT, Tool
from builder.system.sandbox.init import MS_NODEV, MS_NOEXEC, MS_NOSUID, mount

TOOLS = (Tool("mkfs.ext4", "e2fsprogs", "e2fsprogs"), Tool("mount", "mount", "util-linux"))
# Features by name, for a newer mkfs makes by itself what an older kernel cannot mount. No journal and no checksums:
# after a crash there is nobody to read it.
_FEATURES = (
    "none,dir_index,dir_nlink,ext_attr,extent,extra_isize,filetype,flex_bg,huge_file,large_file,sparse_super,uninit_bg"
)
_MAKE = (
    *("mkfs.ext4", "-q", "-F", "-O", _FEATURES, "-b", "4096", "-I", "256", "-m", "0"),
    *("-E", "lazy_itable_init=1,nodiscard,root_owner=0:0"),
)
# barrier=0: a flush need not reach the disk
_MOUNT = ("mount", "-t", "ext4", "-o", "loop,barrier=0,noinit_itable,nosuid,nodev,noexec")
_FEWEST_FILES = 1024


class Medium(enum.StrEnum):
    """What a volume is made of."""

    LOOP = "an image file on a loop device"
    MEMORY = "a tmpfs"


@dataclass(frozen=True)
class Volume:
    """A file system that is mounted on a directory, which is made; size: at most so many bytes; files: and inodes."""

    directory: Path
    size: int
    files: int


def choose_medium(nfs: str, *, exports_tmpfs: bool) -> Medium:
    """What this host can make volumes of; HostError where that is nothing that the NFS server `nfs` can export."""
    refusal = ask([Permission.LOOP], Path("/"))[Permission.LOOP]
    if refusal is None:
        return Medium.LOOP
    if exports_tmpfs:
        return Medium.MEMORY
    cause, remedy = describe_refusal(Permission.LOOP, refusal, read_confinement())
    raise HostError(
        f"a boot needs a file system of its own for the image: {cause}; {nfs} exports no tmpfs, which would do", remedy
    )


def available_memory() -> int:
    """Bytes that can be used without making the host swap, proc_meminfo(5)."""
    found = re.search(r"^MemAvailable:\s*(\d+) kB$", Path("/proc/meminfo").read_text("ascii"), re.M)
    return int(found[1]) << 10 if found else 0


def check_memory(needed: int, guest: int) -> None:
    """HostError where memory has no room for volumes of `needed` bytes beside a guest of `guest` bytes."""
    available = available_memory()
    if needed + guest > available:
        raise HostError(
            f"without loop devices the image is unpacked into memory, of which {format_bytes(needed)} and "
            f"{format_bytes(guest)} for the guest are needed, and {format_bytes(available)} are available",
            "let this container have loop devices: --privileged, or --device /dev/loop-control and each /dev/loopN",
        )


@contextlib.contextmanager
def mounted(volumes: Sequence[Volume], medium: Medium, images: Path) -> Iterator[None]:
    """Makes and mounts volumes, in this order, and takes them away; image files lie in `images`, and stay.

    In private mounts only: what the host sees has to be unmounted by somebody. HostError where one cannot be made.
    """
    with contextlib.ExitStack() as stack:
        for number, volume in enumerate(volumes):
            volume.directory.mkdir(exist_ok=True)
            if medium is Medium.LOOP:
                _mount_image(volume, images / f"{number}-{volume.directory.name}.ext4")
            else:
                mount_memory(volume.directory, volume.size, volume.files)
            stack.callback(detach, volume.directory)
        yield


def mount_memory(directory: Path, size: int, files: int = 0) -> None:
    """Mounts a tmpfs of so many bytes and files, 0 for any number."""
    options = f"mode=0755,size={size},nr_inodes={files}"
    mount("tmpfs", os.fspath(directory), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options)


def _mount_image(volume: Volume, image: Path) -> None:
    with image.open("xb") as file:
        file.truncate(volume.size)
    _run(*_MAKE, "-N", str(max(volume.files, _FEWEST_FILES)), str(image))
    _run(*_MOUNT, str(image), str(volume.directory))
    (volume.directory / "lost+found").rmdir()


def _run(*command: str) -> None:
    try:
        done = subprocess.run(
            command, env=CLEAN_ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    except OSError as error:
        raise HostError(f"cannot start {command[0]}: {error.strerror}") from error
    if done.returncode != 0:
        lines = tuple((done.stdout + done.stderr).decode("utf-8", "backslashreplace").splitlines())
        raise HostError(f"{command[0]} cannot make a file system of the lab's own", "its own lines are above", lines)
