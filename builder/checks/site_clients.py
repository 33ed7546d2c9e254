"""Contradictions of a site's clients, groups and menu entries, and of what they give kernels and mounts."""

from __future__ import annotations

import collections
import re
from collections.abc import Iterator

from builder.generators.mount_options import is_known, remedy
from builder.model.artifacts.manifest import Mounter
from builder.model.fault import Fault, Place
from builder.model.site import LOCAL_DISK, REFUSED_ENTRY, Site, SiteClient, SiteGroup, Unknown

# what dnsmasq(8) reads as something else than a name in dhcp-host=
_NOT_A_NAME = re.compile(r"[0-9.]+|[0-9]+[smhdw]|infinite|ignore", re.I)
_ARGUMENT_LIMIT = 300  # bytes that a recipe's arguments and the root's place leave of the kernel's 2047
_ENTRY_LIMIT = 1500
_IMAGES_OPTIONS = {
    **dict.fromkeys(("vers", "nfsvers", "v2", "v3", "v4"), "root.nfs.version"),
    **dict.fromkeys(("ro", "rw"), "root.mode"),
}
_IMAGES_ARGUMENTS = {
    "root": "the root is always /dev/nfs",
    "nfsroot": "the boot menu says where each version lies",
    "initrd": "the loader writes it",
    "BOOTIF": "the loader writes it for each client",
    "ip": "the image's recipe says it in boot.cmdline",
}
# what menus call entries of their own
_TAKEN_NAMES = (LOCAL_DISK, REFUSED_ENTRY, "menu")


def client_contradictions(site: Site) -> Iterator[Fault]:
    """The faults of clients and groups."""
    names = {group.name for group in site.groups}
    for number, client in enumerate(site.clients):
        place: Place = ("clients", number)
        card = int(client.mac.replace(":", ""), 16)
        if card == 0 or card >> 40 & 1:
            yield Fault((*place, "mac"), f"{client.mac} is not a machine's network card", "copy it from the client")
        yield from _choice(site, place, client)
        if client.name is not None and _NOT_A_NAME.fullmatch(client.name):
            message = f"'{client.name}' as a name would be read as a time, an address or an order by DHCP servers"
            yield Fault((*place, "name"), message, "choose a name with another letter in it")
        if client.group is not None and client.group not in names:
            message = f"there is no group {client.group}"
            there = f"groups are: {', '.join(sorted(names))}" if names else f"add groups: [{{name: {client.group}}}]"
            yield Fault((*place, "group"), message, there)
        if client == SiteClient(mac=client.mac) and site.unknown is Unknown.BOOT:
            yield Fault(place, f"nothing is said about {client.mac}", "add name, address or image, or remove it")
    yield from _twice(site)
    yield from _groups(site)
    if site.unknown is Unknown.REFUSE and not site.own_settings:
        hint = "list them in clients, or in a group with mac_prefixes"
        yield Fault(("unknown",), "who is not known is refused, and nobody is: no client would boot", hint)


def _choice(site: Site, place: Place, chooser: SiteClient | SiteGroup) -> Iterator[Fault]:
    """What boots by itself."""
    if chooser.version is not None and chooser.image is None:
        yield Fault((*place, "version"), f"version {chooser.version} of which image?", "add image: NAME")
    if chooser.entry is not None and chooser.image is not None:
        yield Fault((*place, "entry"), "image says what boots, too", "keep one of the two")
    entries = (LOCAL_DISK, *(entry.name for entry in site.entries))
    if chooser.entry is not None and chooser.entry not in entries:
        hint = f"entries are: {', '.join(entries)}; an image is named by image"
        yield Fault((*place, "entry"), f"the menu has no entry {chooser.entry}", hint)


def _groups(site: Site) -> Iterator[Fault]:
    used = {client.group for client in site.clients}
    seen: dict[str, str] = {}
    for number, group in enumerate(site.groups):
        place: Place = ("groups", number)
        if group.name in [one.name for one in site.groups[:number]]:
            yield Fault((*place, "name"), f"there are two groups {group.name}", "write all of it into one")
        yield from _choice(site, place, group)
        if group.name not in used and not group.mac_prefixes:
            hint = f"add group: {group.name} to its clients, or mac_prefixes, or remove it"
            yield Fault(place, f"nobody is in group {group.name}", hint)
        if not (group.image or group.entry or group.cmdline or group.nfs_options) and site.unknown is Unknown.BOOT:
            yield Fault(place, f"nothing is said about group {group.name}", "add image, entry or cmdline, or remove it")
        for position, prefix in enumerate(group.mac_prefixes):
            where: Place = (*place, "mac_prefixes", position)
            mine = f"{prefix.lower()}:"
            if int(prefix[:2], 16) & 1:
                yield Fault(where, f"no machine's network card begins with {prefix}", "copy it from the clients")
            for other, owner in seen.items():
                if mine.startswith(other) or other.startswith(mine):
                    message = f"{prefix} and {other[:-1]} of group {owner} begin alike"
                    yield Fault(where, message, "a client is in one group: make them differ")
            seen[mine] = group.name


def _twice(site: Site) -> Iterator[Fault]:
    for name in ("mac", "address", "name"):
        seen: dict[str, int] = {}
        for number, client in enumerate(site.clients):
            value: str | None = getattr(client, name)
            if value is None:
                continue
            first = seen.setdefault(value.lower(), number)
            if first != number:
                message = f"'{value}' is also client {first + 1}'s {name}"
                yield Fault(("clients", number, name), message, "each client has its own: correct one of the two")


def argument_contradictions(site: Site) -> Iterator[Fault]:
    """The faults of kernel arguments and mount options: the site's, groups' and clients'."""
    groups = {group.name: group for group in site.groups}
    yield from _arguments((), site.cmdline, site.nfs_options, ())
    for number, group in enumerate(site.groups):
        before = (*site.cmdline, *site.nfs_options)
        yield from _arguments(("groups", number), group.cmdline, group.nfs_options, before)
    for number, client in enumerate(site.clients):
        shared = groups.get(client.group or "")
        before = (*site.cmdline, *site.nfs_options, *(shared.cmdline if shared else ()))
        before += shared.nfs_options if shared else ()
        yield from _arguments(("clients", number), client.cmdline, client.nfs_options, before)


def _arguments(
    place: Place, cmdline: tuple[str, ...], options: tuple[str, ...], before: tuple[str, ...]
) -> Iterator[Fault]:
    yield from repeated((*place, "nfs_options"), options)
    for number, option in enumerate(options):
        yield from _option((*place, "nfs_options", number), option)
    yield from repeated((*place, "cmdline"), cmdline)
    for number, word in enumerate(cmdline):
        name = word.partition("=")[0]
        where: Place = (*place, "cmdline", number)
        if name in _IMAGES_ARGUMENTS and "=" in word:
            yield Fault(where, f"'{word}' cannot be set here: {_IMAGES_ARGUMENTS[name]}", "remove it")
        if word in ("ro", "rw"):
            yield Fault(where, f"'{word}' is set by root.mode of each image's recipe", "remove it")
    own = (*cmdline, *options)
    if own and sum(len(word.encode()) + 1 for word in (*before, *own)) > _ARGUMENT_LIMIT:
        yield Fault(
            (*place, "cmdline") if cmdline else (*place, "nfs_options"),
            f"more than {_ARGUMENT_LIMIT} bytes of kernel arguments and NFS options",
            "remove some: the kernel reads 2047 in all, most of them the images' own",
        )


def _option(place: Place, option: str) -> Iterator[Fault]:
    owner = _IMAGES_OPTIONS.get(option.partition("=")[0])
    if owner is not None:
        yield Fault(place, f"'{option}' is set by {owner} of each image's recipe", "remove it")
    if option in ("udp", "proto=udp"):
        message = f"'{option}': kernels no longer mount NFS over UDP (CONFIG_NFS_DISABLE_UDP_SUPPORT)"
        yield Fault(place, message, "remove it; TCP is the default")
    elif owner is None and not any(is_known(option, mounter) for mounter in Mounter):
        yield Fault(place, f"no root is mounted by what knows '{option}'", remedy(option, Mounter.KERNEL))


def entry_contradictions(site: Site) -> Iterator[Fault]:
    """The faults of entries of the site's own."""
    for number, entry in enumerate(site.entries):
        place: Place = ("entries", number)
        if entry.name in _TAKEN_NAMES:
            yield Fault((*place, "name"), f"menus have an entry {entry.name} already", "choose another name")
        if entry.name in [one.name for one in site.entries[:number]]:
            yield Fault((*place, "name"), f"there are two entries {entry.name}", "choose another name")
        if sum(len(word.encode()) + 1 for word in entry.cmdline) > _ENTRY_LIMIT:
            message = f"more than {_ENTRY_LIMIT} bytes of kernel arguments"
            yield Fault((*place, "cmdline"), message, "remove some: loaders pass on about 2000")


def repeated(place: Place, values: tuple[str, ...]) -> Iterator[Fault]:
    """A fault for each value that is listed more than once."""
    for value, count in collections.Counter(values).items():
        if count > 1:
            position = len(values) - 1 - values[::-1].index(value)
            yield Fault((*place, position), f"'{value}' is listed {count} times", "keep one of them")
