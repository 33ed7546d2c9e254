"""Files on the host, changed whole or not at all, and never across a mount point."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from builder.system.mounts import is_below, mounts

_PIECE = 1 << 20
_HOLE = 64 << 10  # bytes: a shorter run of zeros is written
_ZEROS = bytes(_HOLE)
FULL = (errno.ENOSPC, errno.EDQUOT)  # no byte or no inode is left, or none of a quota
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


def sha256_of_first(file: BinaryIO, size: int) -> str:
    """The SHA-256 of so many bytes of an open file, and no more: others may write to it meanwhile."""
    digest = hashlib.sha256()
    while size > 0 and (data := file.read(min(_PIECE, size))):
        digest.update(data)
        size -= len(data)
    return digest.hexdigest()


def text_sha256(text: str) -> str:
    """The SHA-256 of a text in UTF-8, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def write_sparse(handle: int, data: memoryview) -> None:
    """Writes all of `data` at an open file's position, and leaves long runs of zeros out: they become holes.

    At the end somebody has to give the file its size, ftruncate(2).
    """
    begin = 0
    for at in range(0, len(data) - _HOLE + 1, _HOLE):
        piece = data[at : at + _HOLE]
        if piece[0] == piece[-1] == 0 and bytes(piece) == _ZEROS:
            _write_all(handle, data[begin:at])
            os.lseek(handle, _HOLE, os.SEEK_CUR)
            begin = at + _HOLE
    _write_all(handle, data[begin:])


def _write_all(handle: int, data: memoryview) -> None:
    while data:
        data = data[os.write(handle, data) :]


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


def write_atomic(path: Path, content: bytes, mode: int = 0o640) -> None:
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


def make_directory(path: Path, mode: int) -> None:
    """A directory with this mode whatever the umask; one that is there keeps its own."""
    if not path.is_dir():
        new_directory(path, mode)


def new_directory(path: Path, mode: int) -> None:
    """A directory with this mode whatever the umask; FileExistsError where anything is there, a link too."""
    path.mkdir(mode)
    path.chmod(mode)


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
    kinds = [mount.kind for mount in mounts() if mount.device == number]
    if kinds:
        return kinds[0]
    # btrfs gives each subvolume a device of its own
    real = os.path.realpath(path)
    above = [mount for mount in mounts() if is_below(real, mount.point)]
    return max(above, key=lambda mount: len(mount.point)).kind


def mounts_below(path: Path) -> list[str]:
    """Mount points at or below `path` in this mount namespace, proc(5)."""
    real = os.path.realpath(path)
    return [mount.point for mount in mounts() if is_below(mount.point, real)]


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


def names_in(directory: int) -> list[str]:
    """What is in an open directory now, sorted: btrfs shows through a descriptor what was there when it was opened."""
    handle = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return sorted(os.listdir(handle))  # noqa: PTH208 - Path cannot list an open directory
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
