"""Which image and version a command means that names neither, or one of them."""

from __future__ import annotations

import itertools

from builder.errors import InputError
from builder.model.generation import BootName
from builder.store.generations import history, previous_boot_name, require_active
from builder.store.inventory import Inventory
from builder.store.layout import Store


def known_image(inventory: Inventory, image: str) -> str:
    """The same name; InputError where the store has no such image."""
    images = inventory.images
    if image not in images:
        raise InputError(f"{inventory.store.root} has no image {image}", f"it has {', '.join(images) or 'none'}")
    return image


def named_version(inventory: Inventory, image: str, version: str) -> BootName:
    """What of an image clients would boot by this name; InputError where there is none."""
    store = inventory.store
    names = store.boot_names(known_image(inventory, image))
    for name in names:
        if str(name) == version:
            return name
    raise InputError(f"{store.root} has no {image} {version}", f"it has {', '.join(map(str, names))}")


def previous_version(inventory: Inventory, image: str) -> BootName:
    """What clients of an image booted before; InputError where that was nothing else."""
    name = previous_boot_name(inventory.store, known_image(inventory, image))
    if name is None:
        names = ", ".join(map(str, inventory.store.boot_names(image)))
        raise InputError(f"no other version of {image} was active before", f"name one of: {names}")
    return BootName.parse(name)


def last_changed_image(store: Store) -> str:
    """The image whose active version changed last, or the only one; InputError where it is neither."""
    generations = history(store)
    for newer, older in itertools.pairwise(generations):
        changed = [image for image in newer.active if newer.active[image] != older.active.get(image)]
        if changed:
            return changed[0]
    images = list(require_active(store).active)
    if len(images) > 1:
        raise InputError("nothing was changed that could be taken back", f"name an image: {', '.join(images)}")
    return images[0]
