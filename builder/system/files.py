"""Files on the host, changed whole or not at all, and never across a mount point."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import re
import secrets
import shlex
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from builder.errors import HostError

_PIECE = 1 << 20
FULL = (errno.ENOSPC, errno.EDQUOT)  # no byte or no inode is left, or none of a quota
_DEEPEST = 100  # levels that are entered to remove what is in them
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def as_room_allows() -> Iterator[None]:
    """Passes over that the disk is full: for what can be left out, or comes later."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_sha256(text: str) -> str:
    """The SHA-256 of a text in UTF-8, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def copy_verified(source: Path, target: Path, sha256: str) -> bool:
    """Links (or copies) `source` to `target` and checks the content of that; False where it is another or missing.

    What is checked is the link itself, so that a cache entry replaced meanwhile makes no difference.
    """
    try:
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)
    except FileNotFoundError:
        return False
    if sha256_of(target) == sha256:
        return True
    target.unlink()
    return False


def write_atomic(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Writes a file so that a reader sees the old content or the new, even after a power failure."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".tmp-{path.name}-")
    temporary = Path(name)
    try:
        with open(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def swap_symlink(link: Path, target: str) -> None:
    """Makes `link` point at `target` by one rename(2)."""
    temporary = link.with_name(f".tmp-{link.name}-{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    sync_directory(link.parent)
    temporary.replace(link)
    sync_directory(link.parent)


def sync_file(path: Path) -> None:
    """fsync(2) of a file that is not open any more."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_directory(path: Path) -> None:
    """fsync(2) of a directory: the names in it are on disk."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_filesystem(path: Path) -> None:
    """syncfs(2): all that was written to the file system of `path` is on disk; OSError when some of it is not."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _libc.syncfs(handle) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(handle)


def filesystem_of(path: Path) -> str:
    """The name of the file system that `path` lies on, e.g. ext4, proc(5)."""
    device = path.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        fields = line.split()
        if fields[2] == number:
            return fields[fields.index("-") + 1]
    # btrfs gives each subvolume a device of its own
    best = max(_mount_types().items(), key=lambda item: len(item[0]) if _is_below(path, item[0]) else -1)
    return best[1]


def _mount_types() -> dict[str, str]:
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    return {fields[4]: fields[fields.index("-") + 1] for fields in (line.split() for line in lines)}


def _is_below(path: Path, mount: str) -> bool:
    real = os.path.realpath(path)
    return real == mount or real.startswith(mount.rstrip("/") + "/")


def mounts_below(path: Path) -> list[str]:
    """Mount points at or below `path` in this mount namespace, proc(5)."""
    real = os.path.realpath(path)
    found = []
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        # \040 and its like stand for bytes, of names in any encoding
        octal = line.split()[4].encode("utf-8", "surrogateescape")
        point = os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), octal))
        if point == real or point.startswith(real + "/"):
            found.append(point)
    return found


def remove_tree(path: Path) -> None:
    """Removes a directory and all in it; HostError, and nothing removed, when something is mounted below it."""
    mounted = mounts_below(path)
    if mounted:
        raise HostError(
            f"{path} is not removed: {', '.join(mounted)} is mounted in it", f"umount {shlex.quote(mounted[-1])} first"
        )
    handle = os.open(path, _DIRECTORY)
    try:
        while os.listdir(handle):  # noqa: PTH208 - Path cannot list an open directory
            _empty(handle, handle, 0)
    finally:
        os.close(handle)
    path.rmdir()


def _empty(directory: int, top: int, depth: int) -> None:
    """Removes what is in an open directory; what lies too deep to be entered comes up to `top`, for the next time."""
    with os.scandir(directory) as found:
        entries = list(found)
    for entry in entries:
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.name, dir_fd=directory)
        elif depth == _DEEPEST:
            os.rename(entry.name, f".tmp-{secrets.token_hex(16)}", src_dir_fd=directory, dst_dir_fd=top)
        else:
            below = os.open(entry.name, _DIRECTORY, dir_fd=directory)
            try:
                _empty(below, top, depth + 1)
            finally:
                os.close(below)
            os.rmdir(entry.name, dir_fd=directory)


def open_file(name: str, directory: int) -> int:
    """Opens a plain file in an open directory for reading, and nothing else; OSError where it is none.

    Opening is an act: a pipe waits for a writer, a tape rewinds, a watchdog begins to count.
    """
    return reopen_file(os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory), name)


def reopen_file(handle: int, name: str) -> int:
    """The plain file of an O_PATH descriptor, which is closed, open for reading; OSError where it is none."""
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "is not a plain file", name)
        return os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(handle)


def nearest_directory(path: Path) -> Path:
    """`path`, or the nearest directory above it that exists."""
    return next(found for found in (path.absolute(), *path.absolute().parents) if found.is_dir())


def free_bytes(path: Path) -> int:
    """Bytes that root can still write to the file system of `path` (or of its nearest existing parent)."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def is_read_only(path: Path) -> bool:
    """Whether nothing can be written to the file system of `path` (or of its nearest existing parent)."""
    return bool(os.statvfs(nearest_directory(path)).f_flag & os.ST_RDONLY)
