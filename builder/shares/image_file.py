"""A file system in a file, for servers without a volume manager: ext4 on a loop device, mount(8), losetup(8).

All of its blocks are allocated before it is used: a file with holes would let the file system believe in room that the
disk below has lost meanwhile, and clients would see input/output errors where the disk is only full.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from builder.errors import CommandError, HostError
from builder.system.files import free_bytes, sync_directory
from builder.system.mounts import mount_at
from builder.system.run import CLEAN_ENVIRONMENT, LAST_LINES, Tool, require_tools, run_filter

TOOLS = (
    Tool("mkfs.ext4", "e2fsprogs", "e2fsprogs"),
    Tool("resize2fs", "e2fsprogs", "e2fsprogs"),
    Tool("losetup", "mount", "util-linux"),
    Tool("mount", "mount", "util-linux"),
)
# Nothing of a root is run or opened as a device on the server; nfsd serves set-user-ID bits and devices all the same.
MOUNT_OPTIONS = "loop,nosuid,nodev"
KIND = "ext4"
SMALLEST = 128 << 20
_TEMPORARY = ".tmp-"  # recovery removes it
# Roots are small files and many directories. Blocks are written at once and never discarded, which would make holes.
# Nothing is kept back for root: whoever writes here is root.
_FORMAT = (*("-q", "-F", "-m", "0", "-i", "8192"), *("-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"))
_LOOP_CONTROL = "/dev/loop-control"  # loop(4)
_BLOCK = 512  # st_blocks, stat(2)


def make_filesystem(path: Path, size: int, label: str) -> None:
    """A new file system of `size` bytes, on disk; HostError, and nothing left, where there is no room for it."""
    require_tools(TOOLS)
    _require_loop(path)
    require_room(path.parent, size)
    new = path.with_name(f"{_TEMPORARY}{path.name}")
    new.unlink(missing_ok=True)
    try:
        _allocate(new, size)
        run(["mkfs.ext4", *_FORMAT, "-L", label, str(new)])
        _sync(new)
        new.rename(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def grow_filesystem(path: Path, mounted: Path, size: int) -> None:
    """Makes a mounted file system as large as `size` bytes says; stopped anywhere, it is done by the next call."""
    require_tools(TOOLS)
    require_room(path.parent, size - path.stat().st_blocks * _BLOCK)
    _allocate(path, max(size, path.stat().st_size))
    _sync(path)
    mount = mount_at(mounted)
    if mount is None:
        raise HostError(f"{mounted} is not mounted", "diskless storage mounts it, or says why it cannot be")
    run(["losetup", "--set-capacity", mount.source])
    try:
        run(["resize2fs", mount.source])
    except CommandError as error:
        error.hint = f"the kernel wants CAP_SYS_RESOURCE for it, which containers lack: {mounted} is as it was"
        raise


def mount_filesystem(path: Path, target: Path) -> None:
    """Mounts it in this mount namespace; HostError where the kernel has no loop devices."""
    require_tools(TOOLS)
    _require_loop(path)
    run(["mount", "-t", KIND, "-o", MOUNT_OPTIONS, str(path), str(target)])


def _require_loop(path: Path) -> None:
    try:
        os.close(os.open(_LOOP_CONTROL, os.O_RDWR | os.O_CLOEXEC))  # which loads the module where udev made the node
    except OSError as error:
        message = f"{path} cannot be mounted without loop devices: {_LOOP_CONTROL}: {error.strerror}"
        hint = "modprobe loop; where a container has no devices: mount file systems of your own"
        raise HostError(message, hint) from error


def has_holes(path: Path) -> bool:
    """Whether some of its blocks are not allocated (any more): fstrim(8) gives those of removed files back."""
    info = path.stat()
    return info.st_blocks * _BLOCK < info.st_size


def require_room(directory: Path, needed: int) -> None:
    """HostError where the file system of a directory has not so many bytes left."""
    free = free_bytes(directory)
    if needed > free:
        raise HostError(
            f"{directory} has {free / 1e9:.1f} GB free, {needed / 1e9:.1f} GB are wanted",
            "give a smaller size: it can grow later; or mount a file system of another disk there",
        )


def run(argv: Sequence[str]) -> str:
    """What a program printed; CommandError in its own words where it failed."""
    status, out, err = run_filter(argv, b"", CLEAN_ENVIRONMENT)
    if status != 0:
        lines = (out + err).decode("utf-8", "replace").splitlines()[-LAST_LINES:]
        raise CommandError(f"{argv[0]}: exit status {status}", None, tuple(lines), status=status)
    return out.decode("utf-8", "replace")


def _allocate(path: Path, size: int) -> None:
    """Blocks for all of it, posix_fallocate(3); what is in it stays."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(handle, 0, size)
    finally:
        os.close(handle)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
