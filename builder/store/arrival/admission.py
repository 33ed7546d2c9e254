"""Which versions a store takes in, and how one comes in: with its boot files, whole or not at all."""

from __future__ import annotations

import shlex

from builder.archive.content import OnFile
from builder.archive.members import AGAIN
from builder.archive.unpack import Unpacked
from builder.errors import AuditError, HostError, InputError
from builder.loaders.table import LOADER_FILES, MENU_DIRECTORIES
from builder.model.artifacts.manifest import Manifest
from builder.model.share import TOPS
from builder.output.offer import Offer
from builder.store.arrival.staging import Staging
from builder.store.boot_files import link_boot_files, set_up_loaders
from builder.store.filesystem import no_room
from builder.store.inventory import Inventory
from builder.store.layout import Store
from builder.system.files import FULL

# names of the TFTP root and of the store that an image must not take
RESERVED_IMAGES = {"current", "generations", "grub", "ipxe", *MENU_DIRECTORIES, *LOADER_FILES}


def check_storable(offer: Offer) -> None:
    """InputError or AuditError unless it describes an image that a store can hold."""
    manifest, name = offer.manifest, offer.source.name
    if manifest.image in RESERVED_IMAGES:
        raise InputError(
            f"an image cannot be called {manifest.image!r} in a store", "give it another name in its recipe"
        )
    # nothing that goes into a menu can be taken for something else there
    for word in (*manifest.cmdline, *manifest.root.options, manifest.root.version, manifest.root.mode):
        if not word or not word.isprintable() or " " in word:
            raise AuditError(f"{name}: {word!r} is not a word of a kernel command line", AGAIN)
    if not manifest.version.is_of(manifest.root_digest):
        raise AuditError(f"{name}: version {manifest.version} is not of digest {manifest.root_digest}", AGAIN)


def check_share(store: Store, manifest: Manifest) -> None:
    """HostError where the store has file systems of their own for roots, but none for this image's."""
    if store.record.shares and store.share_of(manifest.image, manifest.root.mode) is None:
        mode, share = manifest.root.mode, TOPS[manifest.root.mode]
        raise HostError(
            f"{manifest.image} has a root of mode {mode}, and {store.root} has no file system {share}/ for it",
            f"diskless storage --to {shlex.quote(str(store.root))} --{share} SIZE makes it, such as 10G",
        )


def add_version(inventory: Inventory, offer: Offer, on_file: OnFile) -> tuple[Inventory, Unpacked | None]:
    """Brings a version and its boot files in, on disk and checked: the store with it, and what was unpacked.

    None was unpacked where the store has it already. No client boots it before it is activated. InputError or
    AuditError, and nothing brought in, for what no store can hold.
    """
    check_storable(offer)
    check_share(inventory.store, offer.manifest)
    store, unpacked = inventory.store, None
    if not _is_there(inventory, offer):
        unpacked = _stage(inventory, offer, on_file)
        inventory = inventory.plus(offer.manifest)
    link_boot_files(store, offer.manifest)
    set_up_loaders(store, offer.manifest, replace=False)
    return inventory, unpacked


def _stage(inventory: Inventory, offer: Offer, on_file: OnFile) -> Unpacked:
    staging = Staging(inventory, offer)
    try:
        try:
            staging.create()
            unpacked = staging.fill(on_file)
            staging.verify()
        except OSError as error:
            staging.discard()
            raise _as_host_error(error, inventory.store, offer.manifest) from error
        staging.commit()
        return unpacked
    finally:
        staging.discard()


def _as_host_error(error: OSError, store: Store, manifest: Manifest) -> HostError:
    if error.errno in FULL:
        return no_room(error, store.root_of(manifest).parents[2], manifest.size, manifest.entries)
    return HostError(f"{error.filename or store.root}: {error.strerror}", "the store is as it was before")


def _is_there(inventory: Inventory, offer: Offer) -> bool:
    """Whether the store has this version; AuditError when it has another whose name is the same."""
    manifest, name = offer.manifest, offer.source.name
    directory = inventory.store.version(manifest.image, manifest.version)
    if not directory.exists():
        return False
    there = inventory.require(manifest.image, manifest.version)
    if there.root_digest != manifest.root_digest:
        raise AuditError(
            f"{directory} is another version whose digest begins alike: {there.root_digest}",
            f"prune that version before {name} is deployed",
        )
    if _booted_with(there) != _booted_with(manifest):
        raise InputError(
            f"{directory} has the same files, but boots with other options than {name}",
            "prune that version first, or use `cmdline` and `nfs_options` of site.yml",
        )
    return True


def _booted_with(manifest: Manifest) -> tuple[object, ...]:
    return manifest.root, manifest.cmdline, manifest.initramfs
