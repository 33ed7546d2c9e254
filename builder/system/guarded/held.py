"""A directory that is held open: what lies in it is reached by name from there, and no link on the way is followed.

A path that is written out is resolved anew by each call, and whoever can rename something above leads it elsewhere in
between. From a descriptor there is no way out: openat2(2) refuses links and whatever leads up, also when names are
exchanged while it looks.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import stat
import weakref
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from builder.system.files import names_in, reopen_file
from builder.system.guarded.openat2 import AT_FDCWD, BENEATH, NO_MAGICLINKS, NO_SYMLINKS, openat2
from builder.system.guarded.removal import remove_at

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_BELOW = BENEATH | NO_SYMLINKS | NO_MAGICLINKS
_libc = ctypes.CDLL(None, use_errno=True)


class HeldDirectory:
    """An open directory. OSErrors name the path; `with` or the end of the object closes it.

    path: what messages call it; it may lead elsewhere by now
    """

    def __init__(self, handle: int, path: Path) -> None:
        self.handle = handle
        self.path = path
        self._closing = weakref.finalize(self, os.close, handle)

    @classmethod
    def at(cls, path: Path) -> HeldDirectory:
        """The directory at a path that was resolved before: a link in any place is refused."""
        real = path.absolute()
        return cls(openat2(AT_FDCWD, str(real), _DIRECTORY, NO_SYMLINKS | NO_MAGICLINKS), real)

    def __enter__(self) -> HeldDirectory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of it."""
        self._closing()

    def enter(self, *names: str) -> HeldDirectory:
        """A directory below it."""
        path = self.path.joinpath(*names)
        try:
            return HeldDirectory(openat2(self.handle, "/".join(names), _DIRECTORY, _BELOW), path)
        except OSError as error:
            raise _about(error, path) from error

    def make(self, name: str, mode: int) -> HeldDirectory:
        """A new directory with this mode, whatever the umask."""
        path = self.path / name
        try:
            os.mkdir(name, 0o700, dir_fd=self.handle)
        except OSError as error:
            raise _about(error, path) from error
        made = self.enter(name)
        if mode != 0o700:
            # in a directory that hands its group down, so does the new one
            os.fchmod(made.handle, mode | stat.S_IMODE(os.fstat(made.handle).st_mode) & stat.S_ISGID)
        return made

    def ensure(self, name: str, mode: int) -> HeldDirectory:
        """The directory that is there, as it is, or a new one with this mode."""
        try:
            return self.make(name, mode)
        except FileExistsError:
            return self.enter(name)

    def make_temporary(self, prefix: str) -> HeldDirectory:
        """A new directory of mode 0700 with a name that nobody can foresee."""
        while True:
            try:
                return self.make(f"{prefix}{secrets.token_hex(4)}", 0o700)
            except FileExistsError:
                continue

    def names(self) -> list[str]:
        """What is in it, sorted."""
        return names_in(self.handle)

    def kind(self, name: str) -> int:
        """What a name is, as stat.S_IFMT has it; 0 where there is nothing."""
        try:
            return stat.S_IFMT(os.stat(name, dir_fd=self.handle, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return 0

    def is_directory(self, name: str) -> bool:
        """Whether a name is a directory, and no link to one."""
        return self.kind(name) == stat.S_IFDIR

    def is_named(self, name: str, directory: HeldDirectory) -> bool:
        """Whether a name is that open directory's."""
        try:
            named = os.stat(name, dir_fd=self.handle, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(named, os.fstat(directory.handle))

    def directories(self) -> list[str]:
        """The names of directories in it, sorted."""
        return [name for name in self.names() if self.is_directory(name)]

    def link(self, name: str) -> str | None:
        """Where a link leads; None where there is none."""
        try:
            return os.readlink(name, dir_fd=self.handle)
        except OSError:
            return None

    def open(self, name: str) -> BinaryIO:
        """A plain file to read; OSError for anything else, which is not even opened."""
        path = str(self.path / name)
        try:
            return open(reopen_file(openat2(self.handle, name, os.O_PATH | os.O_NOFOLLOW, _BELOW), path), "rb")
        except OSError as error:
            raise _about(error, Path(path)) from error

    def write(self, name: str, content: BinaryIO, mode: int, group: int = -1) -> int:
        """Puts a file under a name, whole or not at all, over whatever file or link was there; how many bytes."""
        temporary = f".tmp-{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with open(os.open(temporary, flags, 0o600, dir_fd=self.handle), "wb") as file:
                shutil.copyfileobj(content, file)
                os.fchown(file.fileno(), -1, group)
                os.fchmod(file.fileno(), mode)
                file.flush()
                os.fsync(file.fileno())
                size = file.tell()
            self.rename(temporary, self, name)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=self.handle)
            raise
        self.sync()
        return size

    def point(self, name: str, target: str) -> None:
        """Makes the link `name` lead to `target` by one rename(2)."""
        temporary = f".tmp-{secrets.token_hex(8)}"
        os.symlink(target, temporary, dir_fd=self.handle)
        self.sync()
        self.rename(temporary, self, name)
        self.sync()

    def unlink(self, name: str) -> None:
        """Removes a file or link; nothing where there is none."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.handle)

    def protect(self, name: str, mask: int, group: int = -1) -> bool:
        """Takes `mask` from the mode of a plain file, and gives it a group; whether the mode had any of it."""
        handle = openat2(self.handle, name, os.O_PATH | os.O_NOFOLLOW, _BELOW)
        try:
            info = os.fstat(handle)
            if not stat.S_ISREG(info.st_mode):
                return False
            os.chown(f"/proc/self/fd/{handle}", -1, group)
            if info.st_mode & mask:
                os.chmod(f"/proc/self/fd/{handle}", stat.S_IMODE(info.st_mode) & ~mask)
            return bool(info.st_mode & mask)
        finally:
            os.close(handle)

    def rename(self, name: str, target: HeldDirectory, new: str) -> None:
        """Moves what has a name here, whatever it is, to another directory and name."""
        try:
            os.rename(name, new, src_dir_fd=self.handle, dst_dir_fd=target.handle)
        except OSError as error:
            raise _about(error, self.path / name) from error

    def remove(self, name: str) -> None:
        """Removes a name with all below it, as `remove_at`."""
        remove_at(self.handle, name, self.path / name)

    def remove_empty(self, name: str) -> None:
        """Removes an empty directory; OSError where it is something else."""
        try:
            os.rmdir(name, dir_fd=self.handle)
        except OSError as error:
            raise _about(error, self.path / name) from error

    def sync(self) -> None:
        """fsync(2): the names in it are on disk."""
        os.fsync(self.handle)

    def sync_filesystem(self) -> None:
        """syncfs(2): all that was written to its file system is on disk; OSError when some of it is not."""
        if _libc.syncfs(self.handle) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(self.path))


def _about(error: OSError, path: Path) -> OSError:
    """The same, about a path."""
    return OSError(error.errno, error.strerror, str(path))
