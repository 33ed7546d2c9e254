"""Contradictions of a site: settings whose every value is well formed and that still cannot work."""

from __future__ import annotations

import collections
import ipaddress
import re
from collections.abc import Iterator

from builder.generators.mount_options import is_known, remedy
from builder.model.artifacts.manifest import Mounter
from builder.model.fault import Fault, Place
from builder.model.site import Site, SiteClient, lease_seconds

# what dnsmasq(8) reads as something else than a name in dhcp-host=
_NOT_A_NAME = re.compile(r"[0-9.]+|[0-9]+[smhdw]|infinite|ignore", re.I)
_RESOLVER_LIMIT = 3  # MAXNS, resolv.conf(5)
_MENU_LIMIT = 3599  # PXELINUX counts tenths of a second up to 35996
_ARGUMENT_LIMIT = 300  # bytes that a recipe's arguments and the root's place leave of the kernel's 2047
_SHORTEST_LEASE = 120  # dnsmasq(8)
_LONGEST_LEASE = 10 * 365 * 86400
_SMALLER = "choose first and last so that it lies outside"
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
        _network,
        _interface,
        _addresses,
        _range,
        _lease,
        _nameservers,
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


def _network(site: Site) -> Iterator[Fault]:
    server = ipaddress.IPv4Address(site.server)
    if server.is_loopback or server.is_multicast or server.is_unspecified or server.is_reserved:
        yield Fault(("server",), f"no client reaches {server}", "write this server's address on the clients' network")
        return
    if not 8 <= site.network.prefixlen <= 30:
        message = f"a subnet of /{site.network.prefixlen} is not a network of clients"
        yield Fault(("subnet",), message, "write the network's own, from /8 to /30, such as 192.168.1.0/24")
    elif server not in site.network:
        message = f"the server's {server} is not in {site.network}"
        yield Fault(("subnet",), message, "correct one of the two: clients reach the server without a router")
    elif not _is_host(site, site.server):
        message = f"{server} is the first or the last address of {site.network}, which no machine may have"
        yield Fault(("server",), message, "correct it, or write the subnet that it is in")


def _interface(site: Site) -> Iterator[Fault]:
    if site.interface == "lo":
        yield Fault(("interface",), "no client is on lo", "write the network card's name, as `ip address` shows it")


def _addresses(site: Site) -> Iterator[Fault]:
    """What has to be a machine's address on the clients' network."""
    wanted: dict[Place, str | None] = {("router",): site.router}
    if site.dhcp is not None:
        wanted |= {("dhcp", "first"): site.dhcp.first, ("dhcp", "last"): site.dhcp.last}
    wanted |= {("clients", number, "address"): client.address for number, client in enumerate(site.clients)}
    for place, address in wanted.items():
        if address is None:
            continue
        if ipaddress.IPv4Address(address) not in site.network:
            hint = "correct it, or write subnet" if site.subnet is None else "correct one of the two"
            yield Fault(place, f"{address} is not in the clients' network {site.network}", hint)
        elif not _is_host(site, address):
            message = f"{address} is the first or the last address of {site.network}, which no machine may have"
            yield Fault(place, message, "take one between them")
        if address == site.server and place[0] == "clients":
            yield Fault(place, f"{address} is the server's own address", "give the client another one")
        if address == site.router and place[0] == "clients":
            yield Fault(place, f"{address} is the router's address", "give the client another one")


def _range(site: Site) -> Iterator[Fault]:
    if site.dhcp is None:
        return
    first, last = ipaddress.IPv4Address(site.dhcp.first), ipaddress.IPv4Address(site.dhcp.last)
    if first > last:
        yield Fault(("dhcp", "first"), f"{first} comes after {last}", "exchange first and last")
        return
    owners = {"the server": site.server, "the router": site.router}
    owners |= {f"name server {number}": address for number, address in enumerate(site.nameservers, 1)}
    for owner, address in owners.items():
        if address is not None and address != site.server and _within(address, first, last):
            yield Fault(("dhcp",), f"{first} to {last} holds {address}, {owner}", _SMALLER)
    if _within(site.server, first, last):
        yield Fault(("dhcp",), f"{first} to {last} holds {site.server}, the server itself", _SMALLER)
    for number, client in enumerate(site.clients):
        if client.address is not None and _within(client.address, first, last):
            yield Fault(
                ("clients", number, "address"),
                f"{client.address} is also given to unknown clients, {first} to {last}",
                "take an address outside of dhcp.first to dhcp.last",
            )


def _lease(site: Site) -> Iterator[Fault]:
    seconds = None if site.dhcp is None else lease_seconds(site.dhcp.lease)
    if seconds is not None and not _SHORTEST_LEASE <= seconds <= _LONGEST_LEASE:
        message = f"a lease of {seconds} seconds is {'too short' if seconds < _SHORTEST_LEASE else 'too long'}"
        yield Fault(("dhcp", "lease"), message, "write 2m or more; infinite, if it shall never end")


def _nameservers(site: Site) -> Iterator[Fault]:
    if len(site.nameservers) > _RESOLVER_LIMIT:
        message = f"{len(site.nameservers)} name servers, but resolvers read only {_RESOLVER_LIMIT}"
        yield Fault(("nameservers",), message, f"keep the best {_RESOLVER_LIMIT}")
    for number, text in enumerate(site.nameservers):
        address = ipaddress.ip_address(text)
        if address.version != 4:
            message = f"{address} cannot be told by DHCP, which knows IPv4 name servers only"
            yield Fault(("nameservers", number), message, "write an IPv4 address")
        elif address.is_unspecified or address.is_multicast or address.is_loopback:
            yield Fault(("nameservers", number), f"{address} is not a name server that clients reach", "correct it")
        if text in site.nameservers[:number]:
            yield Fault(("nameservers", number), f"'{text}' is listed twice", "keep one of the two")


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


def _is_host(site: Site, address: str) -> bool:
    return ipaddress.IPv4Address(address) not in (site.network.network_address, site.network.broadcast_address)


def _within(address: str, first: ipaddress.IPv4Address, last: ipaddress.IPv4Address) -> bool:
    parsed = ipaddress.ip_address(address)
    return isinstance(parsed, ipaddress.IPv4Address) and first <= parsed <= last
