"""How a store becomes a guest of the dnsmasq that is there: what our part of its configuration has to say."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from pathlib import Path

from builder.errors import InputError
from builder.model.share import ServedStore
from builder.model.site import Site, SiteNetwork
from builder.probes.configured.directive import Directive
from builder.probes.configured.dnsmasq import DnsmasqConfiguration, read_dnsmasq, value_parts
from builder.probes.configured.dnsmasq_obstacles import DnsmasqGuest, listens, refuse_obstacles
from builder.probes.configured.dnsmasq_terms import ReservedHost, address_ranges, reserved_hosts, set_tags
from builder.render.server.dnsmasq import (
    DEFAULT_LEASES,
    DEFAULT_TRANSFERS,
    drop_in_path,
    wanted_leases,
    wanted_transfers,
)
from builder.render.server.dnsmasq_addresses import BesideDnsmasq, BesideNetwork
from builder.system.network import ipv4_interfaces


def fit_dnsmasq(prefix: Path, site: Site, store: ServedStore) -> BesideDnsmasq:
    """What our part says beside the rest of what the dnsmasq of the server at `prefix` is told.

    InputError with the line that is in the way where both cannot be.
    """
    rest = read_dnsmasq(prefix, stores=True).without(drop_in_path(store.name))
    live = ipv4_interfaces() if prefix.resolve() == Path("/") else []
    guests = [_guest(site, network, store.name, rest, live) for network in site.client_networks]
    for guest in guests:
        refuse_obstacles(guest)
    return BesideDnsmasq(
        tuple(
            BesideNetwork(
                guest.interface,
                listens=listens(guest),
                pool=bool(guest.own),
                by_card=guest.interface is not None
                and not any(_is_hidden(host, guest.network) for host in reserved_hosts(rest)),
            )
            for guest in guests
        ),
        leases=_leases(guests[0]),
        transfers=_transfers(guests[0]),
    )


def _guest(
    site: Site,
    network: SiteNetwork,
    name: str,
    rest: DnsmasqConfiguration,
    live: Sequence[tuple[str, ipaddress.IPv4Interface]],
) -> DnsmasqGuest:
    """One of the site's networks; what a relay passes on comes to the card that has the server's address."""
    own_card = next((card for card, one in live if str(one.ip) == site.server), None)
    interface = network.interface or own_card or next(iter(site.interfaces), None)
    ours = {one.network for one in site.client_networks}
    networks = tuple(one.network for card, one in live if card == interface and one.network not in ours)
    return DnsmasqGuest(site, network, name, rest, interface, networks)


def free_name(prefix: Path, name: str) -> bool:
    """Whether no tag of the dnsmasq of the server at `prefix` begins with this name, but in the file of that name."""
    rest = read_dnsmasq(prefix).without(drop_in_path(name))
    return not any(tag == name or tag.startswith(f"{name}-") for tag in set_tags(_of_people(rest)))


def _of_people(configuration: DnsmasqConfiguration) -> DnsmasqConfiguration:
    """Without what stores wrote: their names are longer or other ones."""
    kept = tuple(one for one in configuration.directives if one.file not in configuration.stores)
    return DnsmasqConfiguration(kept)


def _is_hidden(host: ReservedHost, network: SiteNetwork) -> bool:
    """Whether hosts that are told by their card alone would come before this one on the clients' card."""
    return not host.addresses or any(network.has(one) for one in host.addresses)


def _leases(guest: DnsmasqGuest) -> int | None:
    """The limit of leases to write; InputError where there is one that our clients would use up for all."""
    wanted = sum(one.size for one in address_ranges(guest.rest)) + wanted_leases(guest.site)
    wanted += sum(len(host.addresses) for host in reserved_hosts(guest.rest))
    stated = _stated(guest, "dhcp-lease-max")
    if stated is None:
        return wanted if wanted > DEFAULT_LEASES else None
    directive, limit = stated
    if limit < wanted:
        raise InputError(
            f"{guest.of_others(directive)}: with this store's clients up to {wanted} machines have an address",
            f"put dhcp-lease-max={wanted} there, or give the clients a smaller range in site.yml",
        )
    return None


def _transfers(guest: DnsmasqGuest) -> int | None:
    wanted = wanted_transfers(guest.site)
    return wanted if wanted > DEFAULT_TRANSFERS and _stated(guest, "tftp-max") is None else None


def _stated(guest: DnsmasqGuest, name: str) -> tuple[Directive, int] | None:
    """The line with a limit that counts: the last."""
    found = [(one, value_parts(one.value)[0]) for one in guest.rest.named(name)]
    numbers = [(one, int(text)) for one, text in found if text.isdecimal()]
    return numbers[-1] if numbers else None
