"""Contradictions of a site: settings whose every value is well formed and that still cannot work."""

from __future__ import annotations

import collections
import re
from collections.abc import Iterator

from builder.checks.site_networks import site_network_contradictions
from builder.generators.mount_options import Mounter, is_known, remedy
from builder.model.fault import Fault, Place
from builder.model.site import Site, SiteClient

# what dnsmasq(8) reads as something else than a name in dhcp-host=
_NOT_A_NAME = re.compile(r"[0-9.]+|[0-9]+[smhdw]|infinite|ignore", re.I)
_MENU_LIMIT = 3599  # PXELINUX counts tenths of a second up to 35996
_ARGUMENT_LIMIT = 300  # bytes that a recipe's arguments and the root's place leave of the kernel's 2047
_TAKEN_PORTS = {111: "rpcbind", 2049: "NFS", 20048: "mountd"}
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


def site_contradictions(site: Site) -> list[Fault]:
    """All contradictions of a site; an empty list when it can work."""
    found: list[Fault] = []
    for check in (
        site_network_contradictions,
        _loaders,
        _clients,
        _twice,
        _numbers,
        _options,
        _cmdline,
        _signers,
    ):
        found.extend(check(site))
    return found


def _loaders(site: Site) -> Iterator[Fault]:
    for number, name in enumerate(site.loaders):
        if name in site.loaders[:number]:
            yield Fault(("loaders", number), f"'{name}' is listed twice", "keep the place where it is preferred")


def _clients(site: Site) -> Iterator[Fault]:
    for number, client in enumerate(site.clients):
        place: Place = ("clients", number)
        card = int(client.mac.replace(":", ""), 16)
        if card == 0 or card >> 40 & 1:
            yield Fault((*place, "mac"), f"{client.mac} is not a machine's network card", "copy it from the client")
        if client.version is not None and client.image is None:
            yield Fault((*place, "version"), f"version {client.version} of which image?", "add image: NAME")
        if client.name is not None and _NOT_A_NAME.fullmatch(client.name):
            message = f"'{client.name}' as a name would be read as a time, an address or an order by DHCP servers"
            yield Fault((*place, "name"), message, "choose a name with another letter in it")
        if client == SiteClient(mac=client.mac):
            yield Fault(place, f"nothing is said about {client.mac}", "add name, address or image, or remove it")


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


def _numbers(site: Site) -> Iterator[Fault]:
    port = site.http_port
    if port is not None and not 1 <= port <= 65535:
        yield Fault(("http_port",), f"{port} is not a port", "write a number from 1 to 65535, such as 80")
    if port in _TAKEN_PORTS:
        yield Fault(("http_port",), f"port {port} is {_TAKEN_PORTS[port]}'s", "choose another, such as 80")
    if site.menu_seconds > _MENU_LIMIT:
        message = f"{site.menu_seconds} seconds of menu, but PXELINUX counts to {_MENU_LIMIT}"
        yield Fault(("menu_seconds",), message, f"write 0 to {_MENU_LIMIT}")


def _options(site: Site) -> Iterator[Fault]:
    yield from _repeated(("nfs_options",), site.nfs_options)
    for number, option in enumerate(site.nfs_options):
        place: Place = ("nfs_options", number)
        owner = _IMAGES_OPTIONS.get(option.partition("=")[0])
        if owner is not None:
            yield Fault(place, f"'{option}' is set by {owner} of each image's recipe", "remove it")
        if option in ("udp", "proto=udp"):
            message = f"'{option}': kernels no longer mount NFS over UDP (CONFIG_NFS_DISABLE_UDP_SUPPORT)"
            yield Fault(place, message, "remove it; TCP is the default")
        elif owner is None and not any(is_known(option, mounter) for mounter in Mounter):
            yield Fault(place, f"no root is mounted by what knows '{option}'", remedy(option, Mounter.KERNEL))


def _cmdline(site: Site) -> Iterator[Fault]:
    yield from _repeated(("cmdline",), site.cmdline)
    for number, word in enumerate(site.cmdline):
        name = word.partition("=")[0]
        if name in _IMAGES_ARGUMENTS and "=" in word:
            yield Fault(("cmdline", number), f"'{word}' cannot be set here: {_IMAGES_ARGUMENTS[name]}", "remove it")
        if word in ("ro", "rw"):
            yield Fault(("cmdline", number), f"'{word}' is set by root.mode of each image's recipe", "remove it")
    if sum(len(word.encode()) + 1 for word in (*site.cmdline, *site.nfs_options)) > _ARGUMENT_LIMIT:
        yield Fault(
            ("cmdline",) if site.cmdline else ("nfs_options",),
            f"more than {_ARGUMENT_LIMIT} bytes of kernel arguments and NFS options",
            "remove some: the kernel reads 2047 in all, most of them the images' own",
        )


def _signers(site: Site) -> Iterator[Fault]:
    seen: set[str] = set()
    for number, signer in enumerate(site.signers):
        place: Place = ("signers", number)
        if signer.image in seen:
            yield Fault((*place, "image"), f"'{signer.image}' is listed twice", "write all its signers into one line")
        if not signer.names:
            yield Fault((*place, "names"), f"nobody may sign {signer.image}", "name somebody, or remove the line")
        yield from _repeated((*place, "names"), signer.names)
        seen.add(signer.image)


def _repeated(place: Place, values: tuple[str, ...]) -> Iterator[Fault]:
    for value, count in collections.Counter(values).items():
        if count > 1:
            position = len(values) - 1 - values[::-1].index(value)
            yield Fault((*place, position), f"'{value}' is listed {count} times", "keep one of them")
