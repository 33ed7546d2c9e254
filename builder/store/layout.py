"""Where everything lies in a store, who may use it, and what is refused as none.

DIR/store.json                  says that this is a store, and what of it is exported (record.py)
DIR/site.yml                    the server's own settings, the administrator's file
DIR/versions/IMAGE/VERSION/     boot/, manifest.json, index.json.zst; never changed, never exported
DIR/ro/IMAGE/VERSION/root/      the root of a read-only image; ro/ is a file system of its own, exported read-only
DIR/rw/IMAGE/VERSION/root/      the root of a read-write image; rw/ is one too, exported read-write
DIR/boot/                       the TFTP root
DIR/current/IMAGE               a link to the active root, for people

A store without such file systems has its roots where 0.1 had them: in versions/IMAGE/VERSION/root and in
writable/IMAGE/VERSION/root. Roots stay where they are until `diskless storage` brings them over.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from builder.errors import HostError, InputError
from builder.model.artifacts.manifest import Manifest
from builder.model.generation import BootName
from builder.model.recipe import RootMode
from builder.model.share import OLD_RW, OLD_TOPS, RO, RW, TOPS, ServedStore, next_fsid, share_of
from builder.model.syntax import STORE_PATH
from builder.model.version import VERSION, Version
from builder.store.filesystem import check_export, check_filesystem
from builder.store.records.record import MARKER, Record, read_record, write_record
from builder.system.files import make_directory, sync_directory
from builder.system.guarded.held import HeldDirectory
from builder.system.guarded.locks import locked
from builder.system.guarded.private import keep_names
from builder.system.mounts import is_own_filesystem
from builder.system.privileges.permissions import Permission, require_permissions

SITE, LOCK = "site.yml", ".lock"
TEMPORARY = ".tmp-"
BOOT, CURRENT, GENERATIONS = "boot", "current", "generations"
SERVER_FILES = "server.json"  # what server-config wrote for the store
# what may be in a directory that becomes a store: a mount point's own, the administrator's, ours of an interrupted try
_HARMLESS = {"lost+found", SITE, LOCK, SERVER_FILES}
_PARTS = ("versions", OLD_RW, RO, RW, BOOT)
_INTERRUPTED = (f"{TEMPORARY}probe-", f"{TEMPORARY}{MARKER}-")  # all that a try can leave before it is a store
_LONGEST_WAIT = 3600  # seconds
_ROOT_DIRECTORIES = {"bin", "etc", "sbin", "usr", "var"}


@dataclass(frozen=True)
class Store:
    """The paths of a store. Make one with `open_store`, which also holds its lock, or `find_store` to look only."""

    root: Path
    record: Record = field(default_factory=Record)

    @property
    def versions(self) -> Path:
        """What a server knows of each version; in a store without file systems for the roots, read-only roots too."""
        return self.root / "versions"

    @property
    def root_tops(self) -> tuple[Path, ...]:
        """The directories that have roots of images in them, those that are there."""
        tops = (self.root / name for name in dict.fromkeys((*TOPS.values(), *OLD_TOPS.values())))
        return tuple(top for top in tops if top.is_dir())

    @property
    def client_tops(self) -> tuple[Path, ...]:
        """Those that clients write to."""
        return tuple(top for top in self.root_tops if top.name in (RW, OLD_RW))

    @property
    def boot(self) -> Path:
        """The TFTP root."""
        return self.root / BOOT

    @property
    def generations(self) -> Path:
        """Boot configurations by number."""
        return self.boot / GENERATIONS

    @property
    def current(self) -> Path:
        """The link whose rename is the commit point."""
        return self.boot / CURRENT

    @property
    def shortcuts(self) -> Path:
        """Links for people."""
        return self.root / CURRENT

    @property
    def site_file(self) -> Path:
        """The server's own settings."""
        return self.root / SITE

    def version(self, image: str, version: Version) -> Path:
        """The directory of a version, whether it exists or not."""
        return self.versions / image / version

    def share_of(self, image: str, mode: RootMode) -> str | None:
        """The file system that an image's new roots come to, as a path below the store; None: to the old place."""
        return share_of(image, mode, tuple(self.record.shares))

    def new_place(self, manifest: Manifest) -> Path:
        """Where a version that is to come has its root in; the directory above that is its image's."""
        old = self.share_of(manifest.image, manifest.root.mode) is None
        top = (OLD_TOPS if old else TOPS)[manifest.root.mode]
        return self.root / top / manifest.image / manifest.version

    def old_root(self, manifest: Manifest) -> Path:
        """Where a store without file systems of its own has the root of a version."""
        return self.root / OLD_TOPS[manifest.root.mode] / manifest.image / manifest.version / "root"

    def root_of(self, manifest: Manifest) -> Path:
        """The root directory that clients of a version mount."""
        new, old = self.new_place(manifest) / "root", self.old_root(manifest)
        return old if old.is_dir() and not new.is_dir() else new

    def served(self, *, rw: bool) -> ServedStore:
        """As its servers' texts name it; `rw`: whether it holds a root that clients write to."""
        return ServedStore(str(self.root), self.record.exported(rw=rw))

    def boot_files(self, image: str, name: BootName) -> Path:
        """What TFTP serves of a version."""
        return self.boot / image / str(name)

    def hold(self, path: Path) -> HeldDirectory:
        """A directory at or below the store, reached without a link; OSError where there is none.

        What lies below an export is clients': they may exchange any name there at any time.
        """
        with HeldDirectory.at(self.root) as top:
            return top.enter(str(path.relative_to(self.root)))

    def images(self) -> list[str]:
        """The names of all images that have a version, sorted."""
        return [path.name for path in _directories(self.versions) if self.version_names(path.name)]

    def version_names(self, image: str) -> list[Version]:
        """The versions of an image, oldest name first."""
        return [Version(path.name) for path in _directories(self.versions / image) if VERSION.accepts(path.name)]

    def boot_names(self, image: str) -> list[BootName]:
        """The sets of boot files that TFTP serves of an image, sorted."""
        names = []
        for path in _directories(self.boot / image):
            with contextlib.suppress(ValueError):
                names.append(BootName.parse(path.name))
        return sorted(names)


def find_store(root: Path) -> Store:
    """The store in a directory, to look at only; InputError where there is none."""
    if not (root / MARKER).is_file():
        raise InputError(
            f"{root} holds no store of diskless",
            f"diskless deploy --to {shlex.quote(str(root))} makes one; or name another",
        )
    return Store(root.resolve(), read_record(root))


def look_at_store(root: Path) -> Store:
    """The same, or an empty one in a directory that may become a store."""
    return find_store(root) if (root / MARKER).is_file() else Store(root.resolve())


def check_changeable(root: Path, *, create: bool) -> None:
    """What `open_store` raises before it waits for others and changes anything."""
    if os.geteuid() != 0:
        raise HostError("a store is changed by root only: its files have owners", "run it with sudo")
    if create:
        require_permissions((Permission.OWNERS,), "a store", root)
        store_name(root)
        refuse_other_things(root)
    else:
        find_store(root)


@contextlib.contextmanager
def open_store(
    root: Path, note: Callable[[str], None], *, create: bool = False, mounted: bool = True
) -> Iterator[Store]:
    """The store in a directory, for this process alone; waits while another one works on it.

    With `create` an empty or new directory becomes one. InputError for a directory that holds something else, HostError
    where a file system of it is not mounted, unless `mounted` is false.
    """
    check_changeable(root, create=create)
    if create:
        _make_root(root)
    keep_names(root, note)
    with locked(root / LOCK, f"another diskless works on {root}", note, _LONGEST_WAIT):
        if create:
            refuse_other_things(root)
            _lay_out(root)
        store = find_store(root)
        if mounted:
            require_mounted(store)
        yield store


def require_mounted(store: Store) -> None:
    """HostError where a file system of the store is not mounted: a root would seem to be missing, or lie beside it."""
    for path in store.record.shares:
        if not is_own_filesystem(store.root / path):
            raise HostError(
                f"{store.root / path} is a file system of its own, and it is not mounted",
                f"diskless storage --to {shlex.quote(str(store.root))} mounts it, or says why it cannot be",
            )


def store_name(root: Path) -> str:
    """The store's real path as menus and server files name it; InputError where no text could quote it."""
    name = str(root.resolve())
    if not STORE_PATH.accepts(name):
        hint = "the path is written into exports, dnsmasq.conf and kernel command lines: choose another directory"
        raise InputError(f"{name!r} is not {STORE_PATH.one}", hint)
    return name


def refuse_other_things(root: Path) -> None:
    """InputError unless the directory is a store, empty, or not there."""
    if root.is_dir():
        names = _names(root)
        if MARKER in names or all(_is_harmless(root / name) for name in names):
            return
        if len(names & _ROOT_DIRECTORIES) > 2:
            raise InputError(
                f"{root} is a root file system, made by hand or by another tool",
                "diskless keeps every version in a directory of its own: deploy to a new directory, try it with one "
                f"client, and let the others keep {root} until then",
            )
        raise InputError(
            f"{root} holds something else: {', '.join(sorted(names)[:5])}", "give an empty directory, or a new one"
        )
    if root.exists() or root.is_symlink():
        raise InputError(f"{root} is not a directory", "give an empty directory, or a new one")


def _make_root(root: Path) -> None:
    """A directory for a new store, on a file system that can hold one."""
    made = not root.is_dir()
    for path in (*reversed(root.absolute().parents), root):
        make_directory(path, 0o755)
    if (root / MARKER).exists():
        return
    try:
        for directory in (root, *(path for name in _PARTS if (path := root / name).is_dir())):
            check_filesystem(HeldDirectory.at(directory.resolve()))
        for name in _PARTS:
            if (root / name).is_dir():
                (root / name).chmod(0o755 if name == BOOT else 0o700)
    except BaseException:
        if made:
            root.rmdir()
        raise


def _is_harmless(path: Path) -> bool:
    """Whether something may be in a directory that becomes a store; parts of one may be mount points, still empty."""
    if path.name in _PARTS and path.is_dir() and not path.is_symlink():
        return _names(path) <= _HARMLESS
    return path.name in _HARMLESS


def _names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir() if not path.name.startswith(_INTERRUPTED)}


def _lay_out(root: Path) -> None:
    """Makes what is missing of a store; each step can be repeated."""
    if not (root / MARKER).exists():
        write_record(root, Record(_mounted_shares(root)))
    store = Store(root)
    for path, mode in (
        (store.versions, 0o700),
        (root / OLD_RW, 0o700),
        (store.boot, 0o755),
        (store.generations, 0o755),
        (store.shortcuts, 0o755),
    ):
        make_directory(path, mode)
    sync_directory(store.boot)
    sync_directory(root)


def _mounted_shares(root: Path) -> dict[str, int]:
    """Those that somebody has given file systems of their own before there was a store."""
    shares: dict[str, int] = {}
    for path in (RO, RW):
        if is_own_filesystem(root / path):
            check_export(root / path)
            shares[path] = next_fsid(shares)
    return shares


def _directories(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return sorted(entry for entry in path.iterdir() if not entry.name.startswith(".") and entry.is_dir())
