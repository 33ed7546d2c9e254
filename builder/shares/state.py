"""How the file systems of a store are; nothing is locked or changed for it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from builder.shares.image_file import has_holes
from builder.shares.mounting import is_from_image, places
from builder.shares.relocation import waiting
from builder.store.filesystem import export_fault
from builder.store.inventory import Inventory
from builder.store.layout import Store
from builder.system.mounts import is_own_filesystem

_LOW = 0.1  # of a file system's bytes or inodes: less is said


@dataclass(frozen=True)
class ShareState:
    """One share as it is.

    size, free: bytes; None where it is not mounted
    image: its image file; None for a file system of the administrator's own
    fault: what is wrong with it, None where nothing is
    """

    path: str
    fsid: int
    mounted: bool
    size: int | None
    free: int | None
    image: Path | None
    fault: str | None


@dataclass(frozen=True)
class StorageState:
    """How a store is exported.

    waiting: (image, version) of roots that are not on their share yet
    by_hand: what is left to do for the administrator
    """

    root: Path
    shares: tuple[ShareState, ...]
    old_exports: bool
    waiting: tuple[tuple[str, str], ...]
    by_hand: tuple[str, ...] = ()


def read_storage(inventory: Inventory) -> StorageState:
    """What store.json says, compared with what is mounted, and the roots that are elsewhere."""
    store = inventory.store
    still = [manifest for manifest in inventory.manifests if waiting(store, manifest)]
    names = tuple((manifest.image, str(manifest.version)) for manifest in still)
    return StorageState(store.root, read_shares(store), store.record.old_exports, names)


def read_shares(store: Store) -> tuple[ShareState, ...]:
    """Each share as it is."""
    return tuple(_state(store, path, fsid) for path, fsid in store.record.shares.items())


def _state(store: Store, share: str, fsid: int) -> ShareState:
    place = places(store, share)
    image = place.image if place.image.is_file() else None
    if not is_own_filesystem(place.directory):
        fault = "is not mounted: nothing of it is exported, and no command changes the store"
        return ShareState(share, fsid, False, None, None, image, fault)
    info = os.statvfs(place.directory)
    size, free = info.f_blocks * info.f_frsize, info.f_bavail * info.f_frsize
    return ShareState(share, fsid, True, size, free, image, _fault(store, share, info))


def _fault(store: Store, share: str, info: os.statvfs_result) -> str | None:
    place = places(store, share)
    leak = export_fault(place.directory)
    if leak is not None:
        return f"is on {leak}: move its roots to ext4 or btrfs"
    if is_from_image(store, share) and has_holes(place.image):
        return f"{place.image} has holes (fstrim makes them): where the disk is full, clients see errors"
    if info.f_bavail < _LOW * info.f_blocks:
        return f"is nearly full: {info.f_bavail * info.f_frsize / 1e9:.1f} GB left"
    if info.f_files and info.f_favail < _LOW * info.f_files:
        return f"is nearly full: {info.f_favail} inodes left"
    return None
