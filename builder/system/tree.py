"""Editing a root directory from outside: no path leads out of it, no link in it is followed out of it.

Parents are resolved by openat2(2) with RESOLVE_IN_ROOT, so an absolute link inside the tree stays inside the tree, as
it will for the machine that boots it; last components are never followed.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import hashlib
import os
import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, assert_never

from builder.errors import InputError
from builder.model.entry import TreeCopy, TreeEntry, TreeFile, TreeLink
from builder.system.files import reopen_file, write_sparse
from builder.system.guarded.held import HeldDirectory
from builder.system.guarded.openat2 import IN_ROOT, NO_MAGICLINKS, openat2
from builder.system.guarded.removal import remove_at

_PIECE = 1 << 20


class Tree:
    """A root directory; all paths given to it are absolute paths as the booted machine sees them.

    held: the directory itself, open, where others could exchange what lies above it
    """

    def __init__(self, root: Path, held: HeldDirectory | None = None) -> None:
        self.root = root
        self._held = held

    def write(self, entry: TreeEntry) -> None:
        """Writes a file or link, whole or not at all, over what was there; missing directories are made 0755 root.

        Raises InputError when the path is a directory, or leads through something that is none, and where a file to be
        copied is not what it was when the recipe was read.
        """
        parent = self._make_parent(entry.path)
        name = posixpath.basename(entry.path)
        temporary = f".{name}.diskless"
        try:
            match entry:
                case TreeFile():
                    _write_file(entry, temporary, parent)
                case TreeCopy():
                    _copy_file(entry, temporary, parent)
                case TreeLink():
                    os.symlink(entry.target, temporary, dir_fd=parent)
                case other:
                    assert_never(other)
            os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
        except InputError:
            os.unlink(temporary, dir_fd=parent)
            raise
        except OSError as error:
            if error.errno not in (errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG):
                raise
            raise InputError(
                f"{entry.path} cannot be written: {error.strerror}", "the packages made something else there"
            ) from error
        finally:
            os.close(parent)

    def make_directory(self, path: str, mode: int, uid: int, gid: int) -> None:
        """Makes a directory, or gives the one there this mode and owner; InputError where it is something else."""
        parent = self._make_parent(path)
        name = posixpath.basename(path)
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, mode, dir_fd=parent)
            handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        except OSError as error:
            raise InputError(
                f"{path} cannot be made: {error.strerror}", "the packages made something else there"
            ) from error
        finally:
            os.close(parent)
        try:
            os.fchown(handle, uid, gid)
            os.fchmod(handle, mode)
        finally:
            os.close(handle)

    def read(self, path: str, most: int = -1) -> bytes | None:
        """The content of a plain file, or its first `most` bytes; None where there is no such file."""
        file = self.open(path)
        if file is None:
            return None
        with file:
            return file.read(most)

    def open(self, path: str) -> BinaryIO | None:
        """A plain file to read; None where there is no such file."""
        try:
            return open(reopen_file(self._open(path, os.O_PATH), path), "rb")
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL):
                return None
            raise

    def link(self, path: str) -> str | None:
        """Where a symbolic link leads; None where there is none."""
        try:
            parent, name = self._parent(path)
        except OSError:
            return None
        try:
            return os.readlink(name, dir_fd=parent)
        except OSError:
            return None
        finally:
            os.close(parent)

    def status(self, path: str) -> os.stat_result:
        """What a name is, itself and not what it leads to; OSError where it is missing."""
        parent, name = self._parent(path)
        try:
            return os.stat(name, dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(parent)

    def exists(self, path: str) -> bool:
        """Whether `path` names something, following links as the booted machine would."""
        try:
            os.close(self._open(path, os.O_PATH))
        except OSError:
            return False
        return True

    def names(self, directory: str, pattern: str = "*") -> list[str]:
        """Sorted names in a directory that match a shell pattern; none where it does not exist."""
        try:
            fd = self._open(directory, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return []
        try:
            return sorted(fnmatch.filter(os.listdir(fd), pattern))
        finally:
            os.close(fd)

    def remove(self, path: str) -> None:
        """Removes a file, link or directory with all in it; nothing where there is nothing.

        HostError, and nothing removed, when something is mounted in the directory.
        """
        try:
            parent = self._open(posixpath.dirname(path) or "/", os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return
        name = posixpath.basename(path)
        try:
            remove_at(parent, name, Path(f"{self.root}{path}"))
        except FileNotFoundError:
            pass
        finally:
            os.close(parent)

    def clear(self, directory: str) -> None:
        """Removes everything in a directory, but not the directory."""
        for name in self.names(directory):
            self.remove(posixpath.join(directory, name))

    def files(self, directory: str) -> Iterator[str]:
        """Paths of all files below a directory that are not directories, sorted, links not followed."""
        try:
            fd = self._open(directory, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return
        try:
            for base, directories, names, _ in os.fwalk(".", dir_fd=fd):
                directories.sort()
                for name in sorted(names):
                    yield posixpath.normpath(posixpath.join(directory, base, name))
        finally:
            os.close(fd)

    def _parent(self, path: str) -> tuple[int, str]:
        """The open directory that a path lies in, and its last name."""
        return self._open(posixpath.dirname(path) or "/", os.O_RDONLY | os.O_DIRECTORY), posixpath.basename(path) or "."

    def _make_parent(self, path: str) -> int:
        directory = posixpath.dirname(path) or "/"
        try:
            return self._open(directory, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            pass
        except NotADirectoryError as error:
            raise InputError(
                f"{path} cannot be written: {directory} is not a directory", "choose another path"
            ) from error
        above = self._make_parent(directory)
        try:
            name = posixpath.basename(directory)
            os.mkdir(name, 0o755, dir_fd=above)
            os.chmod(name, 0o755, dir_fd=above)
        except FileExistsError as error:  # a link whose target is missing
            raise InputError(
                f"{path} cannot be written: {directory} is a dangling link", "choose another path"
            ) from error
        finally:
            os.close(above)
        return self._open(directory, os.O_RDONLY | os.O_DIRECTORY)

    def _open(self, path: str, flags: int) -> int:
        """openat2(2) below the root; OSError as open(2)."""
        if self._held is not None:
            return openat2(self._held.handle, path, flags, IN_ROOT | NO_MAGICLINKS)
        root = os.open(self.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return openat2(root, path, flags, IN_ROOT | NO_MAGICLINKS)
        finally:
            os.close(root)


def _write_file(entry: TreeFile, name: str, parent: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(name, flags, 0o600, dir_fd=parent), "wb") as file:
        file.write(entry.content)
        os.fchown(file.fileno(), entry.uid, entry.gid)
        os.fchmod(file.fileno(), entry.mode)


def _copy_file(entry: TreeCopy, name: str, parent: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    digest = hashlib.sha256()
    with (
        open(entry.source.path, "rb", buffering=0) as source,
        open(os.open(name, flags, 0o600, dir_fd=parent), "wb", buffering=0) as file,
    ):
        while piece := source.read(_PIECE):
            digest.update(piece)
            write_sparse(file.fileno(), memoryview(piece))
        os.ftruncate(file.fileno(), file.tell())
        os.fchown(file.fileno(), entry.uid, entry.gid)
        os.fchmod(file.fileno(), entry.mode)
    if digest.hexdigest() != entry.source.sha256:
        raise InputError(f"{entry.source.path} was changed while the image was built", "build again")
