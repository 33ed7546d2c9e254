"""The file systems of a store: made, mounted, grown; roots brought over to them; the exports of 0.1 ended."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.errors import HostError, InputError
from builder.model.recipe import RootMode
from builder.model.share import RO, RW, next_fsid
from builder.model.syntax import IMAGE_NAME
from builder.progress.progress import Progress
from builder.reading import load_site
from builder.shares.image_file import SMALLEST, grow_filesystem, make_filesystem
from builder.shares.mounting import install_mount, is_from_image, mount_share, places
from builder.shares.relocation import relocate, waiting
from builder.shares.state import StorageState, read_storage
from builder.store.activation import activate, site_of
from builder.store.filesystem import check_export
from builder.store.generations import active_generation
from builder.store.inspection.usage import old_clients
from builder.store.inventory import Inventory, read_inventory
from builder.store.layout import Store, open_store, require_mounted
from builder.store.records.record import write_record
from builder.store.recovery import discard, recover
from builder.system.files import make_directory
from builder.system.mounts import is_own_filesystem


@dataclass(frozen=True)
class StorageOptions:
    """What to do besides mounting what is there.

    sizes: share -> bytes that its file system is to have: made where there is none, grown where it is smaller
    end_old: whether the exports of 0.1 end: no client that booted from them runs any more
    force: end them although a client seems to use them
    """

    sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    end_old: bool = False
    force: bool = False


def set_up_storage(root: Path, options: StorageOptions, progress: Progress) -> StorageState:
    """Makes, grows and mounts file systems, and brings the roots over that no client can be running from.

    Stopped anywhere it is finished by the next call. InputError for a size that cannot be, HostError where there is no
    room for it.
    """
    with open_store(root, progress.note, create=True, mounted=False) as store:
        for share, size in options.sizes.items():
            with progress.step(f"file system {share}"):
                _set_up(store, share, size)
                store = _recorded(store, share)
        for share in (RO, RW):
            if is_own_filesystem(store.root / share):
                store = _recorded(store, share)  # the administrator mounted it
        for share in sorted(store.record.shares):
            mount_share(store, share)
        by_hand = [text for share in sorted(store.record.shares) if (text := install_mount(store, share))]
        require_mounted(store)
        inventory = recover(read_inventory(store)).inventory
        if options.end_old and store.record.old_exports:
            _require_unused(inventory, force=options.force)
        _bring_over(inventory, progress, old_ends=options.end_old)
        if options.end_old:
            store = _end_old_exports(inventory)
        inventory = Inventory(store, inventory.found)
        _remove_old_roots(inventory)
        inventory = recover(inventory).inventory
        return dataclasses.replace(read_storage(inventory), by_hand=tuple(by_hand))


def _set_up(store: Store, share: str, size: int) -> None:
    """Makes a share's file system, or makes it larger, and mounts it."""
    _check_share(share, size)
    place = places(store, share)
    if is_own_filesystem(place.directory) and not is_from_image(store, share):
        message = f"{place.directory} is a file system of your own: it is as large as you make it"
        raise InputError(message, f"leave its size out: diskless storage --to {shlex.quote(str(store.root))} takes it")
    if place.image.is_file():
        mount_share(store, share)
        _grow(store, share, size)
    else:
        _check_empty(place.directory, share)
        make_directory(place.image.parent, 0o700)
        make_filesystem(place.image, size, f"diskless-{share}"[:16])
        mount_share(store, share)


def _recorded(store: Store, share: str) -> Store:
    """The store that has a share; InputError where it is not alone on its file system."""
    if share in store.record.shares:
        return store
    device = (store.root / share).stat().st_dev
    for other in (store.root, *(store.root / path for path in store.record.shares)):
        if other.stat().st_dev == device:
            message = f"{store.root / share} and {other} are one file system: clients of the one would reach the other"
            raise InputError(message, "give it a file system of its own")
    check_export(store.root / share)
    shares = {**store.record.shares, share: next_fsid(store.record.shares)}
    record = dataclasses.replace(store.record, shares=shares)
    write_record(store.root, record)
    return dataclasses.replace(store, record=record)


def _grow(store: Store, share: str, size: int) -> None:
    place = places(store, share)
    now = place.image.stat().st_size
    if size < now:
        raise InputError(
            f"{place.image} has {now / 1e9:.1f} GB: a file system in use cannot shrink", "give a larger size"
        )
    grow_filesystem(place.image, place.directory, size)


def _check_share(share: str, size: int) -> None:
    top, _, image = share.partition("/")
    if top not in (RO, RW) or (top == RO and image) or (image and not IMAGE_NAME.accepts(image)):
        raise InputError(f"{share!r} is not a share", f"there are {RO}, {RW}, and {RW}/IMAGE for one image alone")
    if size < SMALLEST:
        raise InputError(f"{share}: {size} bytes are too few for a file system", f"give {SMALLEST >> 20}M or more")


def _check_empty(directory: Path, share: str) -> None:
    if directory.is_symlink() or (directory.is_dir() and any(directory.iterdir())):
        hint = "prune those versions, or deploy the image under another name" if "/" in share else "move it away first"
        raise InputError(f"{directory} has something in it, which a file system would hide", hint)


def _require_unused(inventory: Inventory, *, force: bool) -> None:
    clients = sorted(old_clients(inventory))
    if clients and not force:
        raise HostError(
            f"clients of the old exports seem to run: {', '.join(clients)}",
            "restart them; what was switched off without a word stays listed: with --force it is taken for that",
        )


def _bring_over(inventory: Inventory, progress: Progress, *, old_ends: bool) -> None:
    """Copies roots to their shares, then lets clients boot from there."""
    store = inventory.store
    moved = False
    for manifest in inventory.manifests:
        in_use = manifest.root.mode is RootMode.RW and store.record.old_exports and not old_ends
        if waiting(store, manifest) and not in_use:
            name = f"{manifest.image} {manifest.version}"
            with progress.step(f"bring over {name}"), progress.files(name, manifest.entries) as on_file:
                relocate(inventory, manifest, on_file)
            moved = True
    if active_generation(store) is not None:
        site = site_of(store, None, load_site(store.site_file) if store.site_file.exists() else None)
        activate(inventory, site, {}, "serve the roots from file systems of their own")
    elif moved:
        raise AssertionError("a version without a generation")


def _end_old_exports(inventory: Inventory) -> Store:
    store = inventory.store
    left = [manifest for manifest in inventory.manifests if store.root_of(manifest) == store.old_root(manifest)]
    if left:
        share = RW if left[0].root.mode is RootMode.RW else RO
        raise HostError(
            f"{left[0].image} {left[0].version} has no file system {share}/ to go to",
            f"diskless storage --to {shlex.quote(str(store.root))} --{share} SIZE makes it, such as 10G",
        )
    record = dataclasses.replace(store.record, old_exports=False)
    write_record(store.root, record)
    return dataclasses.replace(store, record=record)


def _remove_old_roots(inventory: Inventory) -> None:
    """Those that clients boot from elsewhere now, once no client can hold a handle of them."""
    store = inventory.store
    if store.record.old_exports:
        return
    for manifest in inventory.manifests:
        old = store.old_root(manifest)
        if old.is_dir() and store.root_of(manifest) != old:
            is_rw = manifest.root.mode is RootMode.RW
            discard(old.parent if is_rw else old, store, within=old.parents[1])
