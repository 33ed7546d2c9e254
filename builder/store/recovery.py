"""What an interrupted deploy, rollback or prune left, removed; nothing else is ever removed here."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.errors import AuditError
from builder.model.artifacts.manifest import MANIFEST
from builder.model.generation import BootName
from builder.model.menu import INITRAMFS, KERNEL
from builder.model.syntax import IMAGE_NAME
from builder.model.version import Version
from builder.store.boot_files import link_boot_files
from builder.store.generations import (
    GENERATION,
    current_number,
    generation_numbers,
    read_generation,
    superseded_numbers,
)
from builder.store.inventory import Inventory
from builder.store.layout import TEMPORARY, Store
from builder.store.reaching import is_missing, obstacle, reached, refusal_of
from builder.system.files import FULL, as_room_allows, swap_symlink, sync_directory
from builder.system.guarded.held import HeldDirectory


@dataclass(frozen=True)
class Recovered:
    """A store in order.

    removed: paths below it; amiss: what stays as it is, because a client made it so, a sentence each
    """

    inventory: Inventory
    removed: tuple[str, ...]
    amiss: tuple[str, ...]


def recover(inventory: Inventory) -> Recovered:
    """Brings a store into order: what it holds then, and what was removed.

    A version that came in whole, but not its boot files yet, gets them: nothing of it has to be unpacked again. What a
    client made of its image is left to the commands about that image.
    """
    store = inventory.store
    removed, amiss = _remove_temporaries(store)
    current = current_number(store)
    for number in generation_numbers(store):
        if number > current:
            removed.append(_discard_generation(store, number))
    # a deploy names the version before its root, a prune takes the root away before the version
    rootless = [manifest for manifest in inventory.manifests if is_missing(store, store.root_of(manifest))]
    removed += [discard_version(store, manifest.image, manifest.version) for manifest in rootless]
    inventory = inventory.minus({(manifest.image, manifest.version) for manifest in rootless})
    removed += _remove_boot_files(store)
    removed += _remove_generations_without_versions(store, current)
    _remove_empty_images(store)
    for manifest in inventory.manifests:
        boot = store.version(manifest.image, manifest.version) / "boot"
        if all((boot / name).is_file() for name in (KERNEL, INITRAMFS)):
            with as_room_allows():  # a full disk must not keep a prune from making room
                link_boot_files(store, manifest)
    repair_shortcuts(inventory)
    return Recovered(inventory, tuple(removed), (*amiss, *_unreachable(inventory)))


def discard(path: Path, store: Store, mark: Path | None = None, *, within: Path | None = None) -> str:
    """Takes a directory out of sight by one rename, then removes it; its path below the store.

    within: where it lies until it is removed, a place that recovery looks at; left out: where it is

    It gets another name where it is: a directory to move it to would need an inode. Where even for the name there is
    no room it is removed under its own, `mark` first: the file without which nothing takes the rest for whole.
    AuditError where a client did something on the way to it, OSError where it cannot be removed.
    """
    with reached(store, path.parent):
        parent, place = store.hold(path.parent), store.hold(within or path.parent)
    trash = f"{TEMPORARY}{secrets.token_hex(4)}-{path.name}"
    with parent, place:
        try:
            parent.rename(path.name, place, trash)
        except OSError as error:
            if error.errno not in FULL:
                raise
            if mark is not None:
                mark.unlink(missing_ok=True)
                sync_directory(mark.parent)
            place, trash = parent, path.name
        parent.sync()
        place.remove(trash)
    return str(path.relative_to(store.root))


def discard_version(store: Store, image: str, version: Version) -> str:
    """Removes a version, but for a root that lies elsewhere; its path below the store."""
    path = store.version(image, version)
    return discard(path, store, path / MANIFEST)


def drop_superseded(store: Store) -> bool:
    """Removes the generations that say nothing which a newer one does not say; whether there were any."""
    numbers = superseded_numbers(store)
    for number in numbers:
        _discard_generation(store, number)
    return bool(numbers)


def _discard_generation(store: Store, number: int) -> str:
    path = store.generations / f"{number:06}"
    return discard(path, store, path / GENERATION)


def repair_shortcuts(inventory: Inventory) -> None:
    """Makes current/IMAGE point at the active root of every image, and removes the links of the others."""
    store, active = inventory.store, {}
    number = current_number(store)
    if number:
        active = dict(read_generation(store, number).active)
    for link in store.shortcuts.iterdir():
        if link.name not in active and link.is_symlink():
            link.unlink()
    for image, name in active.items():
        manifest = inventory.get(image, BootName.parse(name).version)
        if manifest is None:
            continue  # somebody removed or damaged it
        target = f"../{store.root_of(manifest).relative_to(store.root)}"
        link = store.shortcuts / image
        if not (link.is_symlink() and str(link.readlink()) == target):
            with as_room_allows():  # nothing depends on it: the next command makes it
                swap_symlink(link, target)


def _unreachable(inventory: Inventory) -> Iterator[str]:
    """The roots that no command finds, and why."""
    for manifest in inventory.manifests:
        found = obstacle(inventory.store, inventory.store.root_of(manifest))
        if found is not None:
            yield f"{found[0]} {found[1]}: {manifest.image} {manifest.version} cannot be deployed, pruned or compared"


def _remove_temporaries(store: Store) -> tuple[list[str], list[str]]:
    """What was removed, and why other things were not."""
    tops = _image_parents(store)
    places = [store.root, *tops, store.generations, store.shortcuts]
    for parent in tops:
        with store.hold(parent) as held:
            places += [parent / name for name in held.directories()]
    removed: list[str] = []
    amiss: list[str] = []
    for place in dict.fromkeys(places):
        reason = refusal_of(functools.partial(_remove_temporaries_in, store, place, removed, amiss))
        amiss += [] if reason is None else [reason]
    return removed, amiss


def _remove_temporaries_in(store: Store, place: Path, removed: list[str], amiss: list[str]) -> None:
    with store.hold(place) as held:
        for name in held.names():
            if name.startswith(TEMPORARY):
                reason = refusal_of(functools.partial(held.remove, name))
                (removed if reason is None else amiss).append(reason or str((place / name).relative_to(store.root)))


def _remove_boot_files(store: Store) -> Iterator[str]:
    """Boot files of versions that are not there."""
    for path in sorted(store.boot.iterdir()):
        if path.is_dir() and not path.is_symlink() and path != store.generations:
            for name in store.boot_names(path.name):
                if not store.version(path.name, name.version).is_dir():
                    yield discard(store.boot_files(path.name, name), store)


def _remove_generations_without_versions(store: Store, current: int) -> Iterator[str]:
    for number in generation_numbers(store):
        if number == current:
            continue
        if not (store.generations / f"{number:06}" / GENERATION).exists():  # its removal was stopped
            yield _discard_generation(store, number)
            continue
        try:
            active = read_generation(store, number).active
        except AuditError:
            continue  # verify names it
        # while one of its versions is there it says since when that was not booted any more
        if not any(store.boot_files(image, BootName.parse(name)).is_dir() for image, name in active.items()):
            yield _discard_generation(store, number)


def _remove_empty_images(store: Store) -> None:
    shares = [store.root / path for path in store.record.shares]
    for parent in _image_parents(store):
        with store.hold(parent) as held:
            for name in held.directories():
                if IMAGE_NAME.accepts(name) and parent / name not in (store.generations, *shares):
                    refusal_of(functools.partial(remove_if_empty, held, name))


def _image_parents(store: Store) -> list[Path]:
    """The directories that have one for each image."""
    return list(dict.fromkeys((store.versions, *store.root_tops, store.boot)))


def remove_if_empty(held: HeldDirectory, name: str) -> None:
    """Removes a directory that has nothing in it."""
    with held.enter(name) as directory:
        is_empty = not directory.names()
    if is_empty:
        held.remove_empty(name)
