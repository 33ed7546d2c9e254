"""The boot menus of a store: every kept version of every image, and a menu for each client that boots otherwise.

Every path names its version, so a client that has read its menu finishes that version whatever is activated meanwhile.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from builder.errors import InputError
from builder.generators.mount_options import is_known, mounter_of, why_unknown
from builder.model.artifacts.manifest import Manifest
from builder.model.generation import BootName, Generation
from builder.model.menu import Menu, MenuEntry, local_disk_entry, refusal_entry
from builder.model.site import LOCAL_DISK, REFUSED_ENTRY, BootSettings, Site, SiteEntry, Unknown
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
    """The menu of everybody, then one for each client and group that boots otherwise.

    grub_over_http: whether the GRUB that is served can fetch kernels from a web server that it did not come from
    InputError where two entries have one name.
    """
    active = {image: f"{image}/{name}" for image, name in generation.active.items()}
    default = active[generation.default]
    found = [_everybodys(kept, site, default, active)]
    for own in site.own_settings:
        label = pinned_label(own, kept, active)
        if label is not None or not is_default(own, site):
            found.append(_own_menu(own, kept, site, label or default, active))
    web_server = site.web_server if grub_over_http else None
    return [dataclasses.replace(one, web_server=web_server) for one in found]


def is_default(own: BootSettings, site: Site) -> bool:
    """Whether a client without what its pin names boots as everybody does."""
    return site.unknown is Unknown.BOOT and not (own.entry or own.cmdline or own.nfs_options)


def pinned_label(own: BootSettings, kept: Sequence[Bootable], active: Mapping[str, str]) -> str | None:
    """The label that a client's or a group's pin leads to; None without a pin, or where there is no such version."""
    if own.entry is not None or own.image is None:
        return own.entry
    if own.version is None:
        return active.get(own.image)
    # of a version with refreshed kernels: the newest that was taken
    fitting = [b for b in kept if b.manifest.image == own.image and b.boot.version == own.version]
    return max(fitting, key=lambda bootable: bootable.boot.refresh).label if fitting else None


def _everybodys(kept: Sequence[Bootable], site: Site, default: str, active: Mapping[str, str]) -> Menu:
    """For who is in no list: the images, the local disk, or nothing."""
    if site.unknown is Unknown.REFUSE:
        return Menu((refusal_entry(REFUSED_ENTRY),), REFUSED_ENTRY, note=_NOTE)
    label = LOCAL_DISK if site.unknown is Unknown.LOCAL_DISK else default
    return _menu(kept, site, label, active, BootSettings(who=""))


def _own_menu(own: BootSettings, kept: Sequence[Bootable], site: Site, label: str, active: Mapping[str, str]) -> Menu:
    menu = _menu(kept, site, label, active, own)
    return dataclasses.replace(menu, client=own.client, group=own.group, prefixes=own.prefixes)


def _menu(kept: Sequence[Bootable], site: Site, default: str, active: Mapping[str, str], own: BootSettings) -> Menu:
    """One menu: `default` boots after the site's seconds; images' names boot what is active of them."""
    entries = [_entry(bootable, site, own) for bootable in kept]
    by_label = {entry.label: entry for entry in entries}
    shortcuts = [dataclasses.replace(by_label[label], label=image) for image, label in sorted(active.items())]
    others = [local_disk_entry(LOCAL_DISK)] if site.has_local_disk else []
    others += [_own_entry(entry) for entry in site.entries]
    for entry in others:
        if entry.label in active:
            raise InputError(
                f"the menu has two entries {entry.label}: an image of that name is deployed",
                "give the entry in site.yml (entries) another name, or leave local_disk out",
            )
    listed = (*by_label, *(entry.label for entry in others))
    return Menu((*shortcuts, *entries, *others), default, site.menu_seconds, listed, _NOTE)


def check_mount_options(kept: Sequence[Bootable], site: Site) -> None:
    """InputError for a mount option of the site that what mounts some version's root does not know."""
    wanted = [("nfs_options of the site", option) for option in site.nfs_options]
    wanted += [(f"nfs_options of {own.who}", option) for own in site.own_settings for option in own.nfs_options]
    for owner, option in dict.fromkeys(wanted):
        for bootable in kept:
            mounter = mounter_of(bootable.manifest.root)
            if not is_known(option, mounter):
                raise InputError(
                    f"{owner}: {bootable.label}: {why_unknown(option, mounter)}",
                    f"remove '{option}' from nfs_options; root.nfs.options of an image's recipe are its own",
                )


def _entry(bootable: Bootable, site: Site, own: BootSettings) -> MenuEntry:
    manifest = bootable.manifest
    options = (*manifest.root.options, *site.nfs_options, *own.nfs_options)
    configured = dataclasses.replace(manifest, root=dataclasses.replace(manifest.root, options=options))
    more = (*site.cmdline, *own.cmdline)
    entry = image_entry(configured, f"{site.nfs_server}:{bootable.root}", f"{bootable.label}/", more=more)
    return dataclasses.replace(entry, label=bootable.label, title=bootable.label, signed=bootable.signed)


def _own_entry(entry: SiteEntry) -> MenuEntry:
    """An entry of the administrator's; loaders that check signatures refuse it themselves."""
    title, cmdline = entry.title or entry.name, " ".join(entry.cmdline)
    return MenuEntry(entry.name, title, entry.kernel, entry.initrd or "", cmdline)
