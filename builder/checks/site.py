"""Contradictions of a site: settings whose every value is well formed and that still cannot work."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from builder.checks.site_clients import (
    argument_contradictions,
    client_contradictions,
    entry_contradictions,
    repeated,
)
from builder.checks.site_networks import site_network_contradictions
from builder.model.fault import Fault, Place
from builder.model.site import Site

_MENU_LIMIT = 3599  # PXELINUX counts tenths of a second up to 35996
_TAKEN_PORTS = {111: "rpcbind", 2049: "NFS", 20048: "mountd"}


def site_contradictions(site: Site) -> list[Fault]:
    """All contradictions of a site; an empty list when it can work."""
    found: list[Fault] = []
    for check in (
        site_network_contradictions,
        _loaders,
        client_contradictions,
        _servers,
        _numbers,
        argument_contradictions,
        entry_contradictions,
        _signers,
    ):
        found.extend(check(site))
    return found


def _loaders(site: Site) -> Iterator[Fault]:
    for number, name in enumerate(site.loaders):
        if name in site.loaders[:number]:
            yield Fault(("loaders", number), f"'{name}' is listed twice", "keep the place where it is preferred")


def _servers(site: Site) -> Iterator[Fault]:
    """An NFS server and a web server that are other machines."""
    if site.http is not None and site.http_port is not None:
        yield Fault(("http_port",), "http says the port too", "keep http, or write http_port alone")
    if site.nfs is not None and site.nfs.path is not None and site.path is not None:
        yield Fault(("path",), "nfs.path says it too", "keep nfs.path: it is what clients call the directory")
    others: dict[Place, str | None] = {
        ("nfs", "address"): site.nfs.address if site.nfs else None,
        ("http", "address"): site.http.address if site.http else None,
    }
    for place, text in others.items():
        if text is None:
            continue
        address = ipaddress.IPv4Address(text)
        if address.is_loopback or address.is_multicast or address.is_unspecified or address.is_reserved:
            yield Fault(place, f"no client reaches {address}", "write the server's address, as clients see it")
            continue
        for network in (one for one in site.client_networks if not one.has(text)):
            if network.router is None:
                message = f"clients of {network.network} do not reach {address} without a router"
                yield Fault(place, message, "add the network's router, or correct the address")
        if text in [client.address for client in site.clients]:
            yield Fault(place, f"{address} is a client's address", "correct one of the two")


def _numbers(site: Site) -> Iterator[Fault]:
    place: Place = ("http_port",) if site.http is None else ("http", "port")
    port = site.http_port if site.http is None else site.http.port
    if port is not None and not 1 <= port <= 65535:
        yield Fault(place, f"{port} is not a port", "write a number from 1 to 65535, such as 80")
    if port in _TAKEN_PORTS:
        yield Fault(place, f"port {port} is {_TAKEN_PORTS[port]}'s", "choose another, such as 80")
    if site.menu_seconds > _MENU_LIMIT:
        message = f"{site.menu_seconds} seconds of menu, but PXELINUX counts to {_MENU_LIMIT}"
        yield Fault(("menu_seconds",), message, f"write 0 to {_MENU_LIMIT}")


def _signers(site: Site) -> Iterator[Fault]:
    seen: set[str] = set()
    for number, signer in enumerate(site.signers):
        place: Place = ("signers", number)
        if signer.image in seen:
            yield Fault((*place, "image"), f"'{signer.image}' is listed twice", "write all its signers into one line")
        if not signer.names:
            yield Fault((*place, "names"), f"nobody may sign {signer.image}", "name somebody, or remove the line")
        yield from repeated((*place, "names"), signer.names)
        seen.add(signer.image)
