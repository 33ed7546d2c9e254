"""What is in a store and what is served, for people and scripts. Nothing is locked and nothing changed for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from builder.errors import DisklessError, InputError
from builder.model.artifacts.manifest import Manifest
from builder.model.generation import Generation
from builder.model.recipe import RootMode
from builder.model.site import Site
from builder.model.version import Version
from builder.store.activation import are_menus_current, site_of
from builder.store.arrival.channels import trust_of
from builder.store.arrival.signatures import signer_of
from builder.store.generations import active_generation, history
from builder.store.inspection.usage import InUse, old_clients, versions_in_use
from builder.store.inventory import Inventory, read_inventory
from builder.store.layout import Store
from builder.store.records.holds import Hold, read_holds
from builder.store.reserve import Reserve


@dataclass(frozen=True)
class VersionStatus:
    """One version of an image.

    boot_names: its sets of boot files; pinned_by: names of the site
    clients: addresses that are known to use it; hinted: addresses that mounted it once, and may use it
    size: bytes of its files, shared with other versions or not
    signer: who signed it, or why that is not good; None where the site does not ask, or nobody did
    """

    version: Version
    active: bool
    mode: RootMode
    kernel: str
    size: int
    root: Path
    boot_names: tuple[str, ...]
    clients: tuple[str, ...]
    hinted: tuple[str, ...]
    pinned_by: tuple[str, ...]
    signer: str | None = None


@dataclass(frozen=True)
class StoreStatus:
    """A whole store; `active` is None before the first deploy.

    menus_current: whether the menus are what site.yml and the versions say now
    exports_fault: what is wrong with how it is exported, None where nothing is
    old_clients: addresses that seem to use the exports of 0.1, where those are served
    lacks_room: whether so little is free that no deploy begins, or what is held for a rollback is not whole
    holds: image -> the versions that no channel brings back, and why
    """

    root: Path
    active: Generation | None
    images: dict[str, tuple[VersionStatus, ...]]
    history: tuple[Generation, ...]
    menus_current: bool
    exports_fault: str | None = None
    old_clients: tuple[str, ...] = ()
    lacks_room: bool = False
    holds: Mapping[str, tuple[Hold, ...]] = field(default_factory=dict)


def read_status(store: Store, site: Site | None) -> StoreStatus:
    """What is there now."""
    inventory = read_inventory(store)
    active = active_generation(store)
    in_use = versions_in_use(inventory)
    images: dict[str, tuple[VersionStatus, ...]] = {}
    for image in inventory.images:
        boot = active.boot_name(image) if active else None
        images[image] = tuple(
            _version(inventory, image, version, boot.version if boot else None, in_use, site)
            for version in reversed(inventory.versions(image))
        )
    return StoreStatus(
        store.root,
        active,
        images,
        tuple(history(store)),
        _are_menus_current(inventory, site, active),
        store.record.fault(str(store.root)),
        tuple(sorted(old_clients(inventory))) if store.record.old_exports else (),
        Reserve(store).lacks_room,
        read_holds(store.root).held,
    )


def _are_menus_current(inventory: Inventory, site: Site | None, active: Generation | None) -> bool:
    try:
        return active is None or are_menus_current(inventory, site_of(inventory.store, None, site), active)
    except InputError:
        return False  # nothing of what they say is there, or it can be in no menu


def _version(
    inventory: Inventory, image: str, version: Version, active: Version | None, in_use: InUse, site: Site | None
) -> VersionStatus:
    store, manifest = inventory.store, inventory.require(image, version)
    pins = site.own_settings if site else ()
    return VersionStatus(
        version,
        version == active,
        manifest.root.mode,
        manifest.kernel,
        manifest.size,
        store.root_of(manifest),
        tuple(str(name) for name in store.boot_names(image) if name.version == version),
        tuple(sorted(in_use.opened.get((image, version), ()))),
        tuple(sorted(in_use.hinted.get((image, version), ()))),
        tuple(pin.who for pin in pins if (pin.image, pin.version) == (image, version)),
        _signer(store, manifest, site),
    )


def _signer(store: Store, manifest: Manifest, site: Site | None) -> str | None:
    trust = None if site is None else trust_of(site)
    if trust is None:
        return None
    try:
        return signer_of(store, manifest, trust)
    except DisklessError as error:
        return f"nobody: {error.message}"
