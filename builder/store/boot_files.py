"""What TFTP serves of a version: its kernel, its initramfs, and the loaders, which belong to no version."""

from __future__ import annotations

import errno
import shutil
import tempfile
from pathlib import Path

from builder.loaders.table import LASTING_FILES, LOADER_FILES
from builder.model.artifacts.manifest import Manifest
from builder.model.generation import BootName
from builder.model.menu import INITRAMFS, KERNEL
from builder.store.filesystem import check_room
from builder.store.layout import TEMPORARY, Store
from builder.system.files import make_directory, sha256_of, sync_directory, sync_file
from builder.system.guarded.removal import remove_tree

_MENUS, _INODES = 4 << 20, 32  # beside the files themselves: more than a generation takes


def link_boot_files(store: Store, manifest: Manifest) -> None:
    """Shows TFTP the kernel and the initramfs of a version; nothing happens where it does so already."""
    target = store.boot_files(manifest.image, BootName(manifest.version))
    if target.is_dir():
        return
    make_directory(target.parent, 0o755)
    source = store.version(manifest.image, manifest.version) / "boot"
    show_boot_files({name: source / name for name in (KERNEL, INITRAMFS)}, target)


def check_boot_room(store: Store, source: Path) -> None:
    """HostError where the TFTP root is a file system of its own without room for the boot files in `source`."""
    if source.stat().st_dev == store.boot.stat().st_dev:
        return  # they will be links
    files = [path for name in (KERNEL, INITRAMFS, *LOADER_FILES) if (path := source / name).is_file()]
    check_room(store.boot, sum(path.stat().st_size for path in files) + _MENUS, "this version", _INODES)


def show_boot_files(files: dict[str, Path], target: Path) -> None:
    """Links files that are on disk into a new directory of the TFTP root; copies them from another file system."""
    temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=target.parent))
    try:
        for name, path in files.items():
            if not hard_link(path, temporary / name):
                copy_synced(path, temporary / name)
        temporary.chmod(0o755)
        sync_directory(temporary)
        temporary.rename(target)
    except OSError:
        remove_tree(temporary)
        raise
    sync_directory(target.parent)
    sync_directory(target.parent.parent)


def hard_link(source: Path, target: Path) -> bool:
    """A further name of a file; False where it can have none there."""
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM):
            raise
        return False
    return True


def copy_synced(source: Path, target: Path) -> None:
    """A copy that anybody may read, on disk."""
    shutil.copyfile(source, target)
    target.chmod(0o644)
    sync_file(target)


def set_up_loaders(store: Store, manifest: Manifest, *, replace: bool) -> list[str]:
    """Puts the version's loaders into the TFTP root where it has none, or if asked; returns those that changed.

    Those that come with a generation are not meant. The others are replaced only on request: a client may be between
    its loader and the loader's modules, which must match.
    For the same reason all of them are replaced where one is missing.
    """
    source = store.version(manifest.image, manifest.version) / "boot"
    there = [name for name in LASTING_FILES if (source / name).exists()]
    if not replace and all((store.boot / name).exists() for name in there):
        return []
    changed = [name for name in there if not _is_same(source / name, store.boot / name)]
    for name in changed:
        copy_synced(source / name, store.boot / f"{TEMPORARY}{name}")
    for name in changed:
        (store.boot / f"{TEMPORARY}{name}").replace(store.boot / name)
    sync_directory(store.boot)
    return changed


def _is_same(one: Path, other: Path) -> bool:
    return other.exists() and sha256_of(one) == sha256_of(other)


def bundle_digests(directory: Path) -> dict[str, str]:
    """SHA-256 of every file of an unpacked bundle, by its name in the bundle."""
    return {
        str(path.relative_to(directory)): sha256_of(path) for path in sorted(directory.rglob("*")) if path.is_file()
    }
