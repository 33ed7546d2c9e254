"""Files that the store has already: hard links between read-only versions, clones or nothing for read-write roots.

A hard link is one file under two names, so what is linked must be the same in everything that a client can see: owner,
mode, time, extended attributes and content. A read-write root shares no file with anything: a client's write would
show in every version. Nor do versions share their init: see UNSHARED.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import operator
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from builder.archive.content import apply_metadata
from builder.archive.directories import Directories
from builder.archive.unpack import Reuse, read_file_rows
from builder.errors import AuditError, DisklessError
from builder.model.artifacts.index import COLUMNS, FileRecord
from builder.model.artifacts.manifest import INDEX, Manifest
from builder.model.attributes import is_image_attribute
from builder.model.recipe import RootMode
from builder.model.version import Version
from builder.store.generations import active_generation
from builder.store.inventory import Inventory
from builder.store.layout import Store
from builder.system.files import open_file, write_sparse
from builder.system.guarded.held import HeldDirectory

_MOST_BASES = 2
_PIECE = 1 << 20
Fill = Callable[[BinaryIO, BinaryIO, int], None]
# what two files must have in common to be one; of a record, and of a row in an index
_IDENTITY = ("mode", "uid", "gid", "mtime", "size", "sha256", "xattrs")
_of_record = operator.attrgetter(*_IDENTITY)
_of_row = operator.itemgetter(*map(COLUMNS.index, _IDENTITY))
_FICLONE = 0x40049409  # linux/fs.h
# what runs as process 1 from power-on to power-off: while it has a file of its own in each version, an NFS server's
# list of open files says which version a client booted
UNSHARED = ("usr/lib/systemd/systemd", "lib/systemd/systemd", "usr/sbin/init", "sbin/init")
# no further link can be made to this file, or none to that directory: it is written instead
_NO_LINK = (errno.EMLINK, errno.EXDEV, errno.EPERM)
_NEVER_A_CLONE = (errno.EOPNOTSUPP, errno.EXDEV, errno.ENOTTY)
_NO_CLONE = (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ETXTBSY)


def open_reuse(inventory: Inventory, manifest: Manifest, *, copies: bool) -> VersionsReuse:
    """What versions of the same image, and of the same mode, hold already; use it with `with`.

    copies: whether a file is copied where it cannot be cloned or linked, which costs less than fetching it
    """
    return VersionsReuse(_bases(inventory, manifest), clone=manifest.root.mode is RootMode.RW, copies=copies)


def open_relocation(inventory: Inventory, manifest: Manifest) -> VersionsReuse:
    """A read-only version's own root, to be copied, and the versions that files can be linked to on its new place."""
    store = inventory.store
    top = store.new_place(manifest).parent
    bases = [base for base in _bases(inventory, manifest) if base.path.is_relative_to(top)]
    own = _base(store, manifest, store.old_root(manifest))
    return VersionsReuse([*bases, own], clone=False, copies=True)


def _bases(inventory: Inventory, manifest: Manifest) -> list[Base]:
    bases = []
    for version in _candidates(inventory, manifest):
        old = inventory.get(manifest.image, version)
        # nothing is taken from a version that is damaged
        if old is not None and old.root.mode == manifest.root.mode:
            with contextlib.suppress(DisklessError, OSError):
                bases.append(_base(inventory.store, old, inventory.store.root_of(old)))
    return bases


def _base(store: Store, manifest: Manifest, root: Path) -> Base:
    rows = read_file_rows(store.version(manifest.image, manifest.version) / INDEX)
    return Base(store.hold(root), {path: _of_row(row) for path, row in rows.items()})


def _candidates(inventory: Inventory, manifest: Manifest) -> list[Version]:
    """Other versions, the active one first, then by name from the newest; a few, since each index takes a while."""
    active = active_generation(inventory.store)
    name = active.boot_name(manifest.image) if active else None
    names = sorted(inventory.versions(manifest.image), reverse=True)
    names.sort(key=lambda version: version != (name.version if name else None))
    return [version for version in names if version != manifest.version][:_MOST_BASES]


class _NoClonesError(Exception):
    """FICLONE does not work here."""


class Base:
    """A version to take files from: its root, and what its index says of its files, by path."""

    def __init__(self, root: HeldDirectory, files: Mapping[str, tuple[Any, ...]]) -> None:
        self.path = root.path
        self.files = files
        self.device = os.fstat(root.handle).st_dev
        self._root = root
        self.directories = Directories(root.handle)

    def close(self) -> None:
        """Closes its directories."""
        self.directories.close()
        self._root.close()


class VersionsReuse(Reuse):
    """Takes files from some versions, the first that has them."""

    def __init__(self, bases: Sequence[Base], *, clone: bool, copies: bool = False) -> None:
        self._opened = tuple(bases)
        self._bases = self._opened
        self._clone = clone
        self._fill: Fill = _clone
        self._copies = copies
        self._taken: set[int] = set()

    def __enter__(self) -> VersionsReuse:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for base in self._opened:
            base.close()

    @property
    def is_empty(self) -> bool:
        """Whether there is no version to take anything from."""
        return not self._opened

    def knows(self, record: FileRecord) -> bool:
        """Whether a version is said to have this file; `take` finds out whether it can be had."""
        said = _of_record(record)
        return any(base.files.get(record.path) == said for base in self._bases)

    def links(self, record: FileRecord, device: int) -> bool:
        """Whether a version on this device (st_dev) is said to have this file, so that it can be one with it."""
        said = _of_record(record)
        return any(base.device == device and base.files.get(record.path) == said for base in self._bases)

    def take(self, record: FileRecord, parent: int, name: str) -> bool:
        """Links, clones or copies the file of the same path, if it is the same file and nobody touched it."""
        said = _of_record(record)
        for base in self._bases:
            if base.files.get(record.path) != said:
                continue
            try:
                source, _ = base.directories.parent(record.path)
            except AuditError:
                continue  # somebody replaced a directory
            if self._clone:
                return self._cloned(source, parent, name, record)
            if record.path in UNSHARED:
                return _copy(source, parent, name, record, _write)
            inode = untouched_inode(source, name, record)
            if inode is not None and self._link(source, parent, name, inode):
                return True
            if self._copies and _copy(source, parent, name, record, _write):
                return True
        return False

    def _cloned(self, source: int, parent: int, name: str, record: FileRecord) -> bool:
        try:
            return _copy(source, parent, name, record, self._fill)
        except _NoClonesError:  # this file system makes none: do not try it for each file
            self._fill = _write
            self._bases = self._bases if self._copies else ()
            return self._copies and _copy(source, parent, name, record, _write)

    def _link(self, source: int, parent: int, name: str, inode: int) -> bool:
        """One inode of a base becomes one file here: two files of the index are never one."""
        if inode in self._taken:
            return False
        try:
            os.link(name, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            return False
        self._taken.add(inode)
        return True


def untouched_inode(directory: int, name: str, record: FileRecord) -> int | None:
    """The number of a file that still has the kind, size, time, owner, mode and attributes of its record."""
    try:
        info = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return None
    same = (
        info.st_size == record.size
        and info.st_mtime_ns == record.mtime * 10**9
        and info.st_mode == stat.S_IFREG | record.mode
        and (info.st_uid, info.st_gid) == (record.uid, record.gid)
        and attributes(directory, name, record) == record.xattrs
    )
    return info.st_ino if same else None


def attributes(directory: int, name: str, record: FileRecord) -> dict[str, str]:
    """The extended attributes of a name in an open directory, as an index has them; older ones have further kinds."""
    path = f"/proc/self/fd/{directory}/{name}"
    return {
        key: os.getxattr(path, key, follow_symlinks=False).hex()
        for key in os.listxattr(path, follow_symlinks=False)
        if is_image_attribute(key) or key in record.xattrs
    }


def _clone(original: BinaryIO, copy: BinaryIO, size: int) -> None:
    """Shares the blocks, ioctl_ficlonerange(2); OSError where the file system cannot."""
    fcntl.ioctl(copy.fileno(), _FICLONE, original.fileno())


def _write(original: BinaryIO, copy: BinaryIO, size: int) -> None:
    """So many bytes and no more: a client may make the file as large as it likes meanwhile."""
    while size > 0 and (data := original.read(min(_PIECE, size))):
        write_sparse(copy.fileno(), memoryview(data))
        size -= len(data)
    os.ftruncate(copy.fileno(), copy.tell())
    copy.seek(0)


def _copy(source: int, parent: int, name: str, record: FileRecord, fill: Fill) -> bool:
    """A file of its own, kept only if its content is the record's: somebody may have written to the original."""
    try:
        original = open_file(name, source)
    except OSError:
        return False
    with open(original, "rb", buffering=0) as old:
        if os.fstat(original).st_size != record.size:
            return False
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(name, flags, 0o600, dir_fd=parent), "r+b", buffering=0) as copy:
                fill(old, copy, record.size)
                # a clone is of whatever size the original had by then
                is_same = os.fstat(copy.fileno()).st_size == record.size
                if is_same and hashlib.file_digest(copy, "sha256").hexdigest() == record.sha256:
                    apply_metadata(copy.fileno(), record)
                    return True
        except OSError as error:
            if error.errno not in _NO_CLONE:
                raise
            if error.errno in _NEVER_A_CLONE:
                os.unlink(name, dir_fd=parent)
                raise _NoClonesError from error
        os.unlink(name, dir_fd=parent)
        return False
