"""The boot menus of a store: every kept version of every image, and a menu for each client with a pin.

Every path names its version, so a client that has read its menu finishes that version whatever is activated meanwhile.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from builder.errors import InputError
from builder.generators.mount_options import is_known, mounter_of, why_unknown
from builder.model.artifacts.manifest import Manifest
from builder.model.generation import BootName, Generation
from builder.model.menu import Menu, MenuEntry
from builder.model.site import Site, SiteClient
from builder.render.boot.cmdline import image_entry

_NOTE = "written by diskless at each deploy, rollback and prune"


@dataclass(frozen=True)
class Bootable:
    """A version with a set of boot files, and where clients find its root: a path on the server.

    signed: whether a loader that checks signatures takes its kernel
    """

    manifest: Manifest
    boot: BootName
    root: str
    signed: bool = True

    @property
    def label(self) -> str:
        """What is typed at the boot prompt."""
        return f"{self.manifest.image}/{self.boot}"


def menus(generation: Generation, kept: Sequence[Bootable], site: Site, *, grub_over_http: bool = False) -> list[Menu]:
    """The menu of every client that has no pin, then one for each that has.

    grub_over_http: whether the GRUB that is served can fetch kernels from a web server that it did not come from
    """
    entries = [_entry(bootable, site) for bootable in kept]
    active = {image: f"{image}/{name}" for image, name in generation.active.items()}
    found = [menu(entries, active[generation.default], active, site.menu_seconds)]
    for client in site.clients:
        label = pinned_label(client, kept, active)
        if label is not None:
            found.append(menu(entries, label, active, site.menu_seconds, client.mac))
    web_server = site.web_server if grub_over_http else None
    return [dataclasses.replace(one, web_server=web_server) for one in found]


def pinned_label(client: SiteClient, kept: Sequence[Bootable], active: dict[str, str]) -> str | None:
    """The label that a client's pin leads to; None without a pin, or where the store has no such version."""
    if client.image is None:
        return None
    if client.version is None:
        return active.get(client.image)
    # of a version with refreshed kernels: the newest that was taken
    fitting = [b for b in kept if b.manifest.image == client.image and b.boot.version == client.version]
    return max(fitting, key=lambda bootable: bootable.boot.refresh).label if fitting else None


def menu(
    entries: Sequence[MenuEntry], default: str, active: dict[str, str], seconds: int, client: str | None = None
) -> Menu:
    """One menu: `default` boots after `seconds`; images' names boot what is active of them."""
    by_label = {entry.label: entry for entry in entries}
    shortcuts = [dataclasses.replace(by_label[label], label=image) for image, label in sorted(active.items())]
    return Menu((*shortcuts, *entries), default, seconds, tuple(by_label), _NOTE, client)


def check_mount_options(kept: Sequence[Bootable], site: Site) -> None:
    """InputError for a mount option of the site that what mounts some version's root does not know."""
    for option in site.nfs_options:
        for bootable in kept:
            mounter = mounter_of(bootable.manifest.root)
            if not is_known(option, mounter):
                raise InputError(
                    f"nfs_options of the site: {bootable.label}: {why_unknown(option, mounter)}",
                    f"remove '{option}' from nfs_options; root.nfs.options of an image's recipe are its own",
                )


def _entry(bootable: Bootable, site: Site) -> MenuEntry:
    manifest = bootable.manifest
    options = (*manifest.root.options, *site.nfs_options)
    configured = dataclasses.replace(manifest, root=dataclasses.replace(manifest.root, options=options))
    entry = image_entry(configured, f"{site.server}:{bootable.root}", f"{bootable.label}/", more=site.cmdline)
    return dataclasses.replace(entry, label=bootable.label, title=bootable.label, signed=bootable.signed)
