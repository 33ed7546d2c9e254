"""What a command that changes a store says of it besides: exports, pins, clocks."""

from __future__ import annotations

import shlex
from pathlib import Path

from builder.model.artifacts.manifest import Manifest
from builder.model.generation import BootName, Generation
from builder.model.recipe import RootMode
from builder.model.share import TOPS, ServedStore
from builder.model.site import Site
from builder.progress.progress import Progress
from builder.render.server.boot_files import choose_boot_files
from builder.store.activation import missing_pins
from builder.store.generations import history, require_active
from builder.store.inspection.ages import clock_fault
from builder.store.inventory import Inventory
from builder.store.layout import Store
from builder.store.served_loaders import is_refused, read_served_store


def warn_of_exports(inventory: Inventory, manifest: Manifest, progress: Progress) -> None:
    """Every time while an export does not hold, and once where a file system is exported from now on."""
    store = inventory.store
    command = f"--to {shlex.quote(str(store.root))}"
    fault = store.record.fault(str(store.root))
    if fault is not None:
        progress.warn(fault)
    elif not store.record.shares:
        progress.warn(
            f"no client can mount what is in {store.root}: roots need a file system of their own, else clients would "
            f"reach everything beside them. diskless storage {command} --{TOPS[manifest.root.mode]} SIZE makes it"
        )
    elif manifest.root.mode is RootMode.RW and all(m.root.mode is not RootMode.RW for m in inventory.manifests):
        progress.note(f"the first read-write image: run diskless server-config {command} --install again")


def closed_parents(boot: Path) -> list[Path]:
    """The directories from / to the TFTP root that only some may enter: servers that give root up cannot."""
    return [path for path in (*reversed(boot.parents), boot) if not path.stat().st_mode & 0o001]


def warn_of_place(store: Store, progress: Progress) -> None:
    """That no TFTP server can serve the store where it lies."""
    for closed in closed_parents(store.boot):
        progress.warn(
            f"{closed} may be entered by some users only, and TFTP and web servers give root up: clients get nothing. "
            f"chmod o+x {shlex.quote(str(closed))}, or a store elsewhere"
        )


def warn_of_pins(inventory: Inventory, site: Site, generation: Generation, progress: Progress) -> None:
    """Which clients' pins lead nowhere."""
    for mac in missing_pins(inventory, site, generation):
        progress.warn(
            f"{inventory.store.site_file} pins {mac} to a version that is not in the store: it boots as others do; "
            "correct it there, or deploy that version"
        )


def warn_of_clock(store: Store, generation: Generation, progress: Progress) -> None:
    """That the clock contradicts what it said before."""
    fault = clock_fault(generation, [one for one in history(store) if one.number < generation.number])
    if fault is not None:
        progress.warn(f"{fault}: this server's clock is wrong, or was; a prune keeps what it cannot tell the age of")


def warn_of_loaders(store: Store, site: Site, before: ServedStore, manifest: Manifest, progress: Progress) -> None:
    """Where DHCP must say something else from now on, and where Secure Boot refuses what was deployed."""
    now = read_served_store(store, rw=False)
    if before.loaders is not None and choose_boot_files(site, before) != choose_boot_files(site, now):
        command = f"diskless server-config --to {shlex.quote(str(store.root))} --install"
        progress.warn(f"clients can start with other loaders than before: run {command}, or they get the old ones")
    booted = _booted(store, manifest)
    if is_refused(store, f"{manifest.image}/{booted}"):
        progress.warn(
            f"{manifest.image} {booted}: its kernel is not signed by whom GRUB here trusts, so it is offered "
            "on UEFI without Secure Boot only"
        )


def _booted(store: Store, manifest: Manifest) -> BootName:
    """With which of its kernels clients boot a version: one that was adopted, perhaps."""
    active = require_active(store).boot_name(manifest.image)
    return active if active is not None and active.version == manifest.version else BootName(manifest.version)
