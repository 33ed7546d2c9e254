"""What an interrupted deploy, rollback or prune left, removed; nothing else is ever removed here."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.errors import AuditError
from builder.model.generation import BootName
from builder.model.menu import INITRAMFS, KERNEL
from builder.model.syntax import IMAGE_NAME
from builder.store.boot_files import link_boot_files
from builder.store.generations import current_number, generation_numbers, read_generation
from builder.store.inventory import Inventory
from builder.store.layout import TEMPORARY, Store
from builder.store.reaching import is_missing, obstacle, reached, refusal_of
from builder.system.files import swap_symlink
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
            removed.append(discard(store.generations / f"{number:06}", store))
    # a deploy names the version before its root, a prune takes the root away before the version
    rootless = [manifest for manifest in inventory.manifests if is_missing(store, store.root_of(manifest))]
    removed += [discard(store.version(manifest.image, manifest.version), store) for manifest in rootless]
    inventory = inventory.minus({(manifest.image, manifest.version) for manifest in rootless})
    removed += _remove_boot_files(store)
    removed += _remove_generations_without_versions(store, current)
    _remove_empty_images(store)
    for manifest in inventory.manifests:
        boot = store.version(manifest.image, manifest.version) / "boot"
        if all((boot / name).is_file() for name in (KERNEL, INITRAMFS)):
            link_boot_files(store, manifest)
    repair_shortcuts(inventory)
    return Recovered(inventory, tuple(removed), (*amiss, *_unreachable(inventory)))


def discard(path: Path, store: Store) -> str:
    """Takes a directory out of sight by one rename, then removes it; its path below the store.

    AuditError where a client did something on the way to it, OSError where it cannot be removed.
    """
    with reached(store, path.parent):
        parent, top = store.hold(path.parent), store.hold(_top(path, store))
    with parent, top, top.make_temporary(f"{TEMPORARY}trash-") as trash:
        parent.rename(path.name, trash, path.name)
        parent.sync()
        trash.sync()
        top.remove(trash.path.name)
    return str(path.relative_to(store.root))


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
            swap_symlink(link, target)


def _top(path: Path, store: Store) -> Path:
    """The directory below the store that `path` lies in: a rename to it stays on one file system."""
    return store.root / path.relative_to(store.root).parts[0]


def _unreachable(inventory: Inventory) -> Iterator[str]:
    """The roots that no command finds, and why."""
    for manifest in inventory.manifests:
        found = obstacle(inventory.store, inventory.store.root_of(manifest))
        if found is not None:
            yield f"{found[0]} {found[1]}: {manifest.image} {manifest.version} cannot be deployed, pruned or compared"


def _remove_temporaries(store: Store) -> tuple[list[str], list[str]]:
    """What was removed, and why other things were not."""
    places = [store.root, store.versions, store.writable, store.boot, store.generations, store.shortcuts]
    for parent in (store.versions, store.writable, store.boot):
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
        try:
            active = read_generation(store, number).active
        except AuditError:
            continue  # verify names it
        # while one of its versions is there it says since when that was not booted any more
        if not any(store.boot_files(image, BootName.parse(name)).is_dir() for image, name in active.items()):
            yield discard(store.generations / f"{number:06}", store)


def _remove_empty_images(store: Store) -> None:
    for parent in (store.versions, store.writable, store.boot):
        with store.hold(parent) as held:
            for name in held.directories():
                if IMAGE_NAME.accepts(name) and parent / name != store.generations:
                    refusal_of(functools.partial(remove_if_empty, held, name))


def remove_if_empty(held: HeldDirectory, name: str) -> None:
    """Removes a directory that has nothing in it."""
    with held.enter(name) as directory:
        is_empty = not directory.names()
    if is_empty:
        held.remove_empty(name)
