"""Contradictions of a site's networks: subnets, cards, addresses, ranges, and what clients there are told."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Iterator

from builder.model.fault import Fault, Place
from builder.model.site import DhcpOptionType, Site, SiteDhcpOption, SiteNetwork, lease_seconds

_WIDEST, _NARROWEST = 8, 30
_RESOLVER_LIMIT = 3  # MAXNS, resolv.conf(5)
_SHORTEST_LEASE = 120  # dnsmasq(8)
_LONGEST_LEASE = 10 * 365 * 86400
_SMALLER = "choose first and last so that it lies outside"
# which key says it, or who
_SAID_ELSEWHERE = {
    1: "the subnet says it",
    3: "it is the key router",
    6: "it is the key nameservers",
    12: "it is a client's name",
    51: "it is dhcp.lease",
    **dict.fromkeys((43, 60, 66, 67, 208, 209, 210), "it says how clients boot, which this program does"),
    **dict.fromkeys((50, 52, 53, 54, 55, 56, 57, 58, 59, 61, 77, 82, 93, 94, 97), "it is of the protocol itself"),
    119: "servers do not agree how it is written; 15 is one domain",
}
# RFC 2132 and IANA's registry: what clients, and DHCP servers that know the names, take these for
_ADDRESSES = {5, 7, 8, 9, 10, 11, 16, 21, 28, 32, 33, 41, 42, 44, 45, 48, 49, 65, *range(68, 77), 150}
_TYPES = {
    **dict.fromkeys(_ADDRESSES, DhcpOptionType.IPV4_ADDRESS),
    **dict.fromkeys((14, 15, 17, 18, 40, 64), DhcpOptionType.STRING),
    **dict.fromkeys((13, 22, 26), DhcpOptionType.UINT16),
    **dict.fromkeys((19, 20, 23, 27, 29, 30, 31, 34, 36, 37, 39, 46, 116), DhcpOptionType.UINT8),
    **dict.fromkeys((24, 35, 38), DhcpOptionType.UINT32),
}


def site_network_contradictions(site: Site) -> Iterator[Fault]:
    """The faults of the networks, each with its place: the site's own keys, or those of one of `networks`."""
    listed = [(("networks", number), network) for number, network in enumerate(site.networks)]
    whole: list[tuple[Place, SiteNetwork]] = [*listed]
    if len(site.client_networks) > len(listed):
        whole.insert(0, ((), site.client_networks[0]))
    yield from _server(site)
    yield from _unclear(site)
    for place, network in whole:
        yield from _subnet(site, place, network)
        yield from _interface(place, network)
    yield from _overlaps(whole)
    for place, network in whole:
        yield from _router(site, place, network)
    yield from _clients(site)
    for place, network in whole:
        yield from _range(site, place, network)
        yield from _lease(place, network)
        yield from _nameservers(place, network)
        yield from _options(place, network)


def _server(site: Site) -> Iterator[Fault]:
    server = ipaddress.IPv4Address(site.server)
    if _no_machine(server):
        yield Fault(("server",), f"no client reaches {server}", "write this server's address on the clients' network")
        return
    for network in (one.network for one in site.client_networks if one.has(site.server)):
        if network.prefixlen > _NARROWEST or server not in (network.network_address, network.broadcast_address):
            continue
        message = f"{server} is the first or the last address of {network}, which no machine may have"
        yield Fault(("server",), message, "correct it, or write the subnet that it is in")


def _no_machine(address: ipaddress.IPv4Address) -> bool:
    return address.is_loopback or address.is_multicast or address.is_unspecified or address.is_reserved


def _unclear(site: Site) -> Iterator[Fault]:
    """With `networks` alone the site's own keys are of no network."""
    if not site.networks or site.subnet is not None:
        return
    unused = {"interface": site.interface, "dhcp": site.dhcp, "router": site.router, "nameservers": site.nameservers}
    for name, value in unused.items():
        if value:
            hint = "write it into one of networks, or write subnet: it is then of that network, beside the others"
            yield Fault((name,), f"{name} of which network?", hint)


def _subnet(site: Site, place: Place, network: SiteNetwork) -> Iterator[Fault]:
    server = ipaddress.IPv4Address(site.server)
    if not _WIDEST <= network.network.prefixlen <= _NARROWEST:
        message = f"a subnet of /{network.network.prefixlen} is not a network of clients"
        hint = "write the network's own, from /8 to /30, such as 192.168.1.0/24"
        if not (_no_machine(server) and place == ()):
            yield Fault((*place, "subnet"), message, hint)
    elif place == () and not network.has(site.server) and not _no_machine(server):
        message = f"the server's {server} is not in {network.network}"
        yield Fault(("subnet",), message, "correct one of the two: clients reach the server without a router")
    elif place and _no_machine(network.network.network_address):
        yield Fault((*place, "subnet"), f"no machine has an address of {network.network}", "correct it")


def _interface(place: Place, network: SiteNetwork) -> Iterator[Fault]:
    if network.interface == "lo":
        hint = "write the network card's name, as `ip address` shows it"
        yield Fault((*place, "interface"), "no client is on lo", hint)


def _overlaps(whole: list[tuple[Place, SiteNetwork]]) -> Iterator[Fault]:
    for (_, first), (place, second) in itertools.combinations(whole, 2):
        if first.network.overlaps(second.network):
            message = f"{second.network} overlaps {first.network}, another of the networks"
            yield Fault((*place, "subnet"), message, "an address is in one network: correct one of the two")


def _router(site: Site, place: Place, network: SiteNetwork) -> Iterator[Fault]:
    router = network.router
    if router is not None:
        yield from _in_network((*place, "router"), router, network, site)
    elif place and not network.has(site.server):
        message = f"clients of {network.network} do not reach {site.server} without a router"
        hint = "add router: the address there of a router, or of this server itself where it has one"
        yield Fault(place, message, hint)
    if network.dhcp is not None:
        for name in ("first", "last"):
            yield from _in_network((*place, "dhcp", name), getattr(network.dhcp, name), network, site)


def _in_network(place: Place, address: str, network: SiteNetwork, site: Site) -> Iterator[Fault]:
    """What has to be a machine's address there."""
    if not network.has(address):
        implied = site.subnet is None and not site.networks
        hint = "correct it, or write subnet" if implied else "correct one of the two"
        yield Fault(place, f"{address} is not in the clients' network {network.network}", hint)
    elif not _is_host(network, address):
        message = f"{address} is the first or the last address of {network.network}, which no machine may have"
        yield Fault(place, message, "take one between them")


def _clients(site: Site) -> Iterator[Fault]:
    for number, client in enumerate(site.clients):
        place: Place = ("clients", number, "address")
        if client.address is None:
            continue
        networks = [network for network in site.client_networks if network.has(client.address)]
        if not networks and len(site.client_networks) > 1:
            message = f"{client.address} is in none of the networks of the site"
            yield Fault(place, message, "correct it, or add the network that it is in to networks")
        else:
            yield from _in_network(place, client.address, (networks or site.client_networks)[0], site)
        if client.address == site.server:
            yield Fault(place, f"{client.address} is the server's own address", "give the client another one")
        if client.address in [network.router for network in site.client_networks]:
            yield Fault(place, f"{client.address} is the router's address", "give the client another one")


def _range(site: Site, place: Place, network: SiteNetwork) -> Iterator[Fault]:
    if network.dhcp_range is None:
        return
    first, last = network.dhcp_range
    where: Place = (*place, "dhcp")
    if first > last:
        yield Fault((*where, "first"), f"{first} comes after {last}", "exchange first and last")
        return
    owners = {"the router": network.router}
    owners |= {f"name server {number}": address for number, address in enumerate(network.nameservers, 1)}
    owners |= {"the server itself": site.server, "the NFS server": site.nfs_server}
    owners |= {"the web server": site.web_address[0] if site.web_address else None}
    seen: set[str] = set()
    for owner, address in owners.items():
        mine = address == site.server and owner != "the server itself"
        if address is not None and not mine and address not in seen and _within(address, first, last):
            seen.add(address)
            yield Fault(where, f"{first} to {last} holds {address}, {owner}", _SMALLER)
    for number, client in enumerate(site.clients):
        if client.address is not None and _within(client.address, first, last):
            yield Fault(
                ("clients", number, "address"),
                f"{client.address} is also given to unknown clients, {first} to {last}",
                "take an address outside of dhcp.first to dhcp.last",
            )


def _lease(place: Place, network: SiteNetwork) -> Iterator[Fault]:
    seconds = None if network.dhcp is None else lease_seconds(network.dhcp.lease)
    if seconds is not None and not _SHORTEST_LEASE <= seconds <= _LONGEST_LEASE:
        message = f"a lease of {seconds} seconds is {'too short' if seconds < _SHORTEST_LEASE else 'too long'}"
        yield Fault((*place, "dhcp", "lease"), message, "write 2m or more; infinite, if it shall never end")


def _nameservers(place: Place, network: SiteNetwork) -> Iterator[Fault]:
    servers, where = network.nameservers, (*place, "nameservers")
    if len(servers) > _RESOLVER_LIMIT:
        message = f"{len(servers)} name servers, but resolvers read only {_RESOLVER_LIMIT}"
        yield Fault(where, message, f"keep the best {_RESOLVER_LIMIT}")
    for number, text in enumerate(servers):
        address = ipaddress.ip_address(text)
        if address.version != 4:
            message = f"{address} cannot be told by DHCP, which knows IPv4 name servers only"
            yield Fault((*where, number), message, "write an IPv4 address")
        elif address.is_unspecified or address.is_multicast or address.is_loopback:
            yield Fault((*where, number), f"{address} is not a name server that clients reach", "correct it")
        if text in servers[:number]:
            yield Fault((*where, number), f"'{text}' is listed twice", "keep one of the two")


def _options(place: Place, network: SiteNetwork) -> Iterator[Fault]:
    seen: set[int] = set()
    for number, option in enumerate(network.options):
        where: Place = (*place, "options", number)
        if not 1 <= option.code <= 254:
            yield Fault((*where, "code"), f"{option.code} is no DHCP option", "write a number from 1 to 254")
        elif option.code in _SAID_ELSEWHERE:
            yield Fault(
                (*where, "code"), f"option {option.code} is not for here: {_SAID_ELSEWHERE[option.code]}", "remove it"
            )
        elif option.code in seen:
            yield Fault(
                (*where, "code"), f"option {option.code} is there twice", "keep one; several addresses are a list"
            )
        else:
            yield from _values(where, option)
        seen.add(option.code)


def _values(place: Place, option: SiteDhcpOption) -> Iterator[Fault]:
    wanted = _TYPES.get(option.code, option.type)
    if option.type is not wanted:
        message = f"option {option.code} is of the type {wanted}, RFC 2132"
        yield Fault((*place, "type"), message, f"write type: {wanted}")
        return
    several = option.type is DhcpOptionType.IPV4_ADDRESS
    if not option.values or (len(option.values) > 1 and not several):
        message = f"option {option.code} has {len(option.values)} values"
        hint = "write at least one" if several else f"write one: a list is for {DhcpOptionType.IPV4_ADDRESS} only"
        yield Fault((*place, "values"), message, hint)
        return
    try:
        if not 1 <= len(option.data) <= 255:
            yield Fault((*place, "values"), "an option has 1 to 255 bytes", "shorten it")
    except ValueError:
        message = f"{', '.join(option.values)} is no {option.type}"
        yield Fault((*place, "values"), message, "correct it, or the type: binary is written like c0:a8:01:01")


def _is_host(network: SiteNetwork, address: str) -> bool:
    ends = (network.network.network_address, network.network.broadcast_address)
    return ipaddress.IPv4Address(address) not in ends


def _within(address: str, first: ipaddress.IPv4Address, last: ipaddress.IPv4Address) -> bool:
    parsed = ipaddress.ip_address(address)
    return isinstance(parsed, ipaddress.IPv4Address) and first <= parsed <= last
