"""What clients boot next: a generation made from the one before, and committed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from builder.errors import InputError
from builder.loaders.base import Loader
from builder.loaders.table import LOADERS, menu_files
from builder.model.artifacts.manifest import Manifest
from builder.model.generation import BootName, Generation
from builder.model.menu import KERNEL, Menu
from builder.model.recipe import RootMode
from builder.model.site import IPV4, Site
from builder.model.text.moment import Moment
from builder.render.boot.menu import Bootable, check_mount_options, menus, pinned_label
from builder.store.agreement import check_releases
from builder.store.generations import active_generation, commit, generation_numbers, is_served, next_number
from builder.store.inventory import Inventory
from builder.store.layout import Store
from builder.store.reaching import hold_root
from builder.store.recovery import repair_shortcuts
from builder.store.served_loaders import ServedLoader, goes_over_http, is_verified, loaders_to_serve
from builder.system.clock import read_moment
from builder.system.files import sha256_of, text_sha256


def activate(
    inventory: Inventory, site: Site, changes: Mapping[str, BootName], reason: str, now: Moment | None = None
) -> Generation:
    """Makes the changes (image -> boot files) to what is active, and commits; the others stay as they are.

    Where clients get the same menus already nothing is written, and the active generation is returned.
    The menus name every version of the inventory. AuditError, and nothing changed, when a kernel and the modules of
    its root disagree.
    """
    store = inventory.store
    before = active_generation(store)
    generation, texts, loaders = _prepared(inventory, site, before, changes, reason)
    if before is not None and is_served(store, generation, before):
        return before
    now = now or read_moment()
    generation = dataclasses.replace(generation, made=now.time, clock=now.clock)
    commit(store, generation, texts, loaders)
    repair_shortcuts(inventory)
    return generation


def are_menus_current(inventory: Inventory, site: Site, active: Generation) -> bool:
    """Whether the menus of the active generation are what `site` and the versions say now."""
    return is_served(inventory.store, _prepared(inventory, site, active, {}, "")[0], active)


def _prepared(
    inventory: Inventory, site: Site, before: Generation | None, changes: Mapping[str, BootName], reason: str
) -> tuple[Generation, dict[str, str], dict[str, Path]]:
    """A generation that nothing is written of yet, of no time, its menus, and the loaders that come with it."""
    store, kept = inventory.store, bootables(inventory, site)
    check_mount_options(kept, site)
    by_name = {(bootable.manifest.image, str(bootable.boot)): bootable for bootable in kept}
    for image, name in changes.items():
        check_agreement(store, by_name[image, str(name)].manifest, name)
    wanted = {**(before.active if before else {}), **{image: str(name) for image, name in changes.items()}}
    # what somebody removed by hand can be booted by nobody
    active = {image: name for image, name in wanted.items() if (image, name) in by_name}
    if not active:
        raise InputError(f"{store.root} holds no version that could be booted", f"diskless deploy --to {store.root}")
    generation = Generation(next_number(store), site.server, _default(site, before, active), active, 0, reason)
    first = sorted(active.items(), key=lambda item: item[0] != generation.default)
    served = loaders_to_serve(inventory, [by_name[image, name].manifest for image, name in first])
    texts = _menu_texts(inventory, site, generation, kept, served)
    files = {path: _there_already(store, path, file) for one in served for path, file in one.files.items()}
    generation = dataclasses.replace(
        generation,
        menus={name: text_sha256(text) for name, text in texts.items()},
        loaders={path: sha256_of(file) for path, file in sorted(files.items())},
    )
    return generation, texts, files


def _menu_texts(
    inventory: Inventory,
    site: Site,
    generation: Generation,
    kept: Sequence[Bootable],
    served: Sequence[ServedLoader],
) -> dict[str, str]:
    """The menus of every loader, by path below the TFTP root; InputError where one would change a command line."""
    loaders = _loaders_of(bootable.manifest for bootable in kept)
    checked = [
        dataclasses.replace(one, signed=is_verified(inventory.store, one.manifest, one.boot, served)) for one in kept
    ]
    wanted = menus(generation, checked, site, grub_over_http=goes_over_http(served))
    check_cmdlines(wanted, kept)
    _check_own_entries(inventory.store, site)
    return menu_files(wanted, loaders)


def _check_own_entries(store: Store, site: Site) -> None:
    """InputError where a file is not there that an entry of the site names."""
    for entry in site.entries:
        for name in filter(None, (entry.kernel, entry.initrd)):
            if not (store.boot / name).is_file():
                raise InputError(
                    f"the entry {entry.name} of site.yml names {name}, and {store.boot / name} is not there",
                    f"copy it there, or correct entries in {store.site_file}",
                )


def _there_already(store: Store, path: str, file: Path) -> Path:
    """The same file of the newest generation that has it: where boot/ is another disk it needs no copy.

    A rollback on a full disk depends on it.
    """
    size, sha256 = file.stat().st_size, sha256_of(file)
    for number in reversed(generation_numbers(store)):
        there = store.generations / f"{number:06}" / path
        if there.is_file() and there.stat().st_size == size and (there.samefile(file) or sha256_of(there) == sha256):
            return there
    return file


def bootables(inventory: Inventory, site: Site) -> list[Bootable]:
    """Every version, with each of its sets of boot files, in the order of the menu."""
    store = inventory.store
    return [
        Bootable(manifest, name, _seen_as(store, site, manifest))
        for manifest in inventory.manifests
        for name in store.boot_names(manifest.image)
        if name.version == manifest.version
    ]


def check_agreement(store: Store, manifest: Manifest, name: BootName) -> None:
    """AuditError unless the root has the modules of the kernel that would be booted with it."""
    hint = "build the image again"
    if manifest.root.mode is RootMode.RW:
        hint = f"diskless adopt-kernel --to {store.root} {manifest.image} takes the kernel that a client installed"
    kernel = store.boot_files(manifest.image, name) / KERNEL
    with hold_root(store, manifest) as root:
        check_releases(f"{manifest.image} {name}", kernel, root, hint)


def missing_pins(inventory: Inventory, site: Site, generation: Generation) -> list[str]:
    """The clients, by MAC address, and groups whose pin leads to nothing: they boot as others do."""
    kept = bootables(inventory, site)
    active = {image: f"{image}/{name}" for image, name in generation.active.items()}
    return [own.client or own.who for own in site.own_settings if own.image and pinned_label(own, kept, active) is None]


def site_of(store: Store, server: str | None, written: Site | None) -> Site:
    """The site of a store: what is written in its file, else what the last generation knew; `server` overrides.

    InputError where nothing says the address, or `server` is none: it goes into every menu.
    """
    if server is not None and not IPV4.accepts(server):
        raise InputError(f"--server {server}: no {IPV4.name}", IPV4.hint(server))
    before = active_generation(store)
    address = server or (written.server if written else None) or (before.server if before else None)
    if address is None:
        raise InputError(
            "clients must be told this server's address, and nothing says it",
            f"give --server ADDRESS, or write `server: ADDRESS` into {store.site_file}",
        )
    return dataclasses.replace(written, server=address) if written else Site(server=address)


def _default(site: Site, before: Generation | None, active: Mapping[str, str]) -> str:
    wanted = (site.default, before.default if before else None)
    return next((image for image in wanted if image in active and image is not None), next(iter(active)))


def check_cmdline(inventory: Inventory, site: Site, manifest: Manifest) -> None:
    """InputError when a line of the menus, with a version that is to come, would be cut off or changed.

    Looks at what `activate` will: every version that is there with every loader, those that are to come included.
    """
    coming = Bootable(manifest, BootName(manifest.version), _seen_as(inventory.store, site, manifest))
    draft = Generation(1, site.server, manifest.image, {manifest.image: manifest.version}, 0, "")
    there = bootables(inventory, site)
    for kept in ([coming], [*there, coming]):  # a fault of its own is named before that of another
        check_cmdlines(menus(draft, kept, site), kept)


def _seen_as(store: Store, site: Site, manifest: Manifest) -> str:
    """A root directory as clients name it."""
    return str(Path(site.nfs_path or store.root) / store.root_of(manifest).relative_to(store.root))


def check_cmdlines(found: Iterable[Menu], kept: Sequence[Bootable]) -> None:
    """InputError when a loader of these versions would cut off a command line of these menus, or change it."""
    lines = dict.fromkeys(
        (entry.label, entry.cmdline) for menu in found for entry in menu.entries if entry.label in menu.listed
    )
    bootables = {bootable.label: bootable for bootable in kept}
    for loader in _loaders_of(bootable.manifest for bootable in kept):
        for label, line in lines:
            word, size = loader.unfit_word(line), len(line.encode())
            if word is not None:
                raise InputError(
                    f"{label}: {loader.name} would hand over another kernel argument than {word}",
                    _remedy(label, bootables, loader, "write it without these characters"),
                )
            if size > loader.cmdline_bytes:
                raise InputError(
                    f"{label}: its kernel command line is {size} bytes long; {loader.name} passes on at most "
                    f"{loader.cmdline_bytes}: {line:.100}...",
                    _remedy(label, bootables, loader, "shorten cmdline or nfs_options in the site, or boot.cmdline"),
                )


def _remedy(label: str, bootables: Mapping[str, Bootable], loader: Loader, change: str) -> str:
    bootable = bootables.get(label)
    if bootable is None:  # an entry of the site's own
        return change
    if loader.name in bootable.manifest.loaders:
        return f"{change}, or leave the loader out: boot.loaders in the recipe"
    # it came before the loader did
    without = f"leave {loader.name} out of boot.loaders in the recipe of what is to come"
    return f"{without}, or prune {bootable.label} first: a loader's menu names every version"


def _loaders_of(manifests: Iterable[Manifest]) -> tuple[Loader, ...]:
    """The loaders that some of these versions can be booted with."""
    names = {name for manifest in manifests for name in manifest.loaders}
    return tuple(loader for name, loader in LOADERS.items() if name in names)
