"""What in a dnsmasq's configuration cannot be true together with a site, and what to put there instead.

Each check raises an InputError that names the line. Nothing is refused that the tags of our part keep apart.
Sources: dnsmasq(8); where it says less, what dnsmasq 2.90 was seen to do (tests/integration/servers).
"""

from __future__ import annotations

import fnmatch
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass

from builder.errors import InputError
from builder.model.site import Site, SiteNetwork
from builder.probes.configured.directive import Directive
from builder.probes.configured.dnsmasq import DnsmasqConfiguration, unquoted, value_parts
from builder.probes.configured.dnsmasq_terms import (
    AddressRange,
    address_ranges,
    condition,
    may_apply,
    option_number,
    possible_tags,
    reserved_hosts,
)
from builder.probes.configured.reserved import Reserved

_ROUTER, _NAME_SERVERS = 3, 6
# what says how a client boots: vendor options, class, server and file; RFC 2132 and 5071
_BOOT_OPTIONS = {43, 60, 66, 67, 208, 209, 210}


@dataclass(frozen=True)
class DnsmasqGuest:
    """A store, one of whose networks is to be served by a dnsmasq that may serve others.

    rest: all that dnsmasq is told but by our own part
    interface: the clients' card, None where nobody knows
    networks: those that are on that card besides the site's
    own: the ranges that dnsmasq has for the clients' network already
    """

    site: Site
    network: SiteNetwork
    name: str
    rest: DnsmasqConfiguration
    interface: str | None
    networks: tuple[ipaddress.IPv4Network, ...] = ()

    @property
    def own(self) -> list[AddressRange]:
        """The ranges that the rest has for the clients' network."""
        return [one for one in address_ranges(self.rest) if one.touches(self.network.network)]

    def applies(self, directive: Directive) -> bool:
        """Whether a line may be for a client of the store."""
        certain = {self.name, *([self.interface] if self.interface else [])}
        ranges = {one.tag for one in self.own if one.tag is not None}
        return may_apply(condition(directive).tags, possible_tags(self.rest, certain | ranges), certain)

    def of_others(self, directive: Directive) -> str:
        """A line, its place, and whose it is where another store wrote it."""
        store = self.rest.stores.get(directive.file)
        whose = f", of the store {store}" if store else ""
        value = "" if directive.value is None else f"={unquoted(directive.value)}"
        return f"{directive.place}: {directive.name}{value}{whose}"

    def names(self, directive: Directive) -> bool:
        """Whether a line lists the clients' card, perhaps by a pattern."""
        card = self.interface
        return card is not None and any(
            fnmatch.fnmatchcase(card, part) for part in value_parts(directive.value) if part
        )


def refuse_obstacles(guest: DnsmasqGuest) -> None:
    """InputError with the first line that is in the way; nothing where none is."""
    for check in _CHECKS:
        check(guest)


def _range(guest: DnsmasqGuest) -> None:
    """One network has one pool, and one proxy."""
    for one in guest.own:
        line = guest.of_others(one.directive)
        if one.directive.file in guest.rest.stores:
            store = guest.rest.stores[one.directive.file]
            raise InputError(
                f"{line}: that store serves the network {guest.network.network} already",
                f"give this store's clients a subnet and a card of their own in site.yml, or deploy to {store}",
            )
        if one.mode == "proxy":
            raise InputError(
                f"{line}: dnsmasq is a proxy for {guest.network.network} already, for somebody else's loaders",
                "remove that line and what belongs to it; this program writes such lines itself",
            )
        if guest.network.dhcp is not None:
            raise InputError(
                f"{line}: dnsmasq gives addresses of {guest.network.network} already, and a network has one range",
                "leave dhcp out of site.yml: clients then get addresses of that range; or remove that line",
            )


def _same_card(guest: DnsmasqGuest) -> None:
    if guest.own:
        return
    for one in address_ranges(guest.rest):
        if any(one.touches(network) for network in guest.networks):
            raise InputError(
                f"{guest.of_others(one.directive)}: that network is on {guest.interface} too, and any machine there "
                "would get an address of either",
                "put the clients on a card, a bridge or a VLAN of their own, and its name into site.yml (interface)",
            )


def _other_servers(guest: DnsmasqGuest) -> None:
    for directive in guest.rest.named("dhcp-relay", "dhcp-split-relay"):
        words = value_parts(directive.value)
        if any(_in_network(word, guest.network.network) for word in words[:1]) or guest.interface in words[2:]:
            raise InputError(
                f"{guest.of_others(directive)}: DHCP of the clients' network is passed on to another server",
                "remove that line, or leave it and configure that other server: --format router says how",
            )
    for directive in guest.rest.named("dhcp-alternate-port"):
        raise InputError(
            f"{guest.of_others(directive)}: firmware asks at port 67 only",
            "remove that line, or let another program serve these clients (--format dhcpd)",
        )


def _card(guest: DnsmasqGuest) -> None:
    for directive in guest.rest.named("except-interface", "no-dhcp-interface"):
        if guest.names(directive):
            raise InputError(
                f"{guest.of_others(directive)}: dnsmasq has to serve DHCP on {guest.interface}",
                f"take {guest.interface} out of that line, or put the clients on another card",
            )


def _boot(guest: DnsmasqGuest) -> None:
    """Whoever boots from the network gets one answer."""
    hint = f"put tag:!{guest.name}, at the beginning of its value: it is then for everybody but this store's clients"
    if guest.own:
        hint = "remove that line: machines of one network that boot from it are sent to one loader"
    for directive in guest.rest.named("dhcp-boot", "pxe-service", "pxe-prompt"):
        if guest.applies(directive):
            raise InputError(f"{guest.of_others(directive)}: it tells this store's clients another loader", hint)
    for directive in guest.rest.named("dhcp-option", "dhcp-option-force", "dhcp-option-pxe"):
        number = option_number(condition(directive).rest)
        if number in _BOOT_OPTIONS and guest.applies(directive):
            raise InputError(
                f"{guest.of_others(directive)}: option {number} tells this store's clients otherwise", hint
            )


def _ignored(guest: DnsmasqGuest) -> None:
    """Who is ignored as a stranger stays so where no stranger gets an address by the site."""
    strangers = guest.network.dhcp is not None and not guest.own
    for directive in guest.rest.named("dhcp-ignore"):
        if guest.applies(directive) and (strangers or "!known" not in condition(directive).tags):
            mark = f"tag:!{guest.interface}" if guest.interface else "tag:!NAME with the clients' card"
            raise InputError(
                f"{guest.of_others(directive)}: dnsmasq would not answer this store's clients",
                f"add ,{mark} to that line: everybody else is ignored as before",
            )


def _hosts(guest: DnsmasqGuest) -> None:
    reserved = Reserved(guest.site)
    for host in reserved_hosts(guest.rest):
        shared = reserved.shared(host.cards, host.addresses, host.name)
        if shared is not None:
            raise InputError(
                f"{guest.of_others(host.directive)}: {shared} is reserved there, and in site.yml",
                "leave one of the two out: remove that line, or the client's name and address in site.yml",
            )


def _same_answers(guest: DnsmasqGuest) -> None:
    """With a common pool a client's system is told what everybody is told: the site cannot say something else."""
    site, network = guest.site, guest.network
    wanted = {_ROUTER: (network.router,) if network.router else (), _NAME_SERVERS: network.nameservers}
    if not guest.own:
        return
    for number, key in ((_ROUTER, "router"), (_NAME_SERVERS, "nameservers")):
        told: tuple[str, ...] = (site.server,)
        line: Directive = guest.own[0].directive
        for directive in guest.rest.named("dhcp-option", "dhcp-option-force"):
            found = condition(directive)
            if option_number(found.rest) == number and guest.applies(directive):
                told, line = tuple(part.replace("0.0.0.0", site.server) for part in found.rest[1:]), directive
        if wanted[number] and wanted[number] != told:
            raise InputError(
                f"{guest.of_others(line)}: machines of that range are told {', '.join(told) or 'none'}, "
                f"and site.yml says {key}: {', '.join(wanted[number])}",
                f"leave {key} out of site.yml, or say there what that line says",
            )


def _tftp(guest: DnsmasqGuest) -> None:
    for directive in guest.rest.named("tftp-secure", "tftp-unique-root"):
        raise InputError(
            f"{guest.of_others(directive)}: the store's files would not be found, whose owner is root and whose names "
            "are the same for every client",
            "remove that line, or let another program serve the files (--format tftpd)",
        )
    enabled = guest.rest.named("enable-tftp")
    roots = guest.rest.named("tftp-root")
    for directive in roots:
        parts = value_parts(directive.value)
        if len(parts) > 1 and guest.interface is not None and fnmatch.fnmatchcase(guest.interface, parts[1]):
            _refuse_tftp(guest, directive)
    for directive in enabled:
        if directive.value is None or guest.interface is None or guest.names(directive):
            _refuse_tftp(guest, directive)


def _refuse_tftp(guest: DnsmasqGuest, directive: Directive) -> None:
    card = guest.interface or "the clients' card"
    store = guest.rest.stores.get(directive.file)
    hint = f"put the cards there that it is for, all but {card}: {directive.name}=NAME"
    if directive.name == "tftp-root":
        hint = "remove that line, or put the clients on another card"
    if guest.interface is None:
        hint = "add interface: NAME to site.yml, the card that the clients are on, and name the others in that line"
    if store is not None:
        hint = f"give this store's clients a subnet and a card of their own in site.yml, or deploy to {store}"
    raise InputError(f"{guest.of_others(directive)}: dnsmasq serves other files on {card} already", hint)


def _bound(guest: DnsmasqGuest) -> None:
    """A card that dnsmasq binds to has to be there when it starts, or it serves nobody."""
    if guest.interface is None or listens(guest):
        return
    for directive in guest.rest.named("bind-interfaces"):
        raise InputError(
            f"{guest.of_others(directive)}: dnsmasq would not start, for nobody, while {guest.interface} is not there",
            "write bind-dynamic there instead: it waits for cards, and is the same in all else",
        )


def listens(guest: DnsmasqGuest) -> bool:
    """Whether dnsmasq serves the clients' card without being told by us."""
    listed = guest.rest.named("interface")
    addresses = guest.rest.named("listen-address")
    if not listed and not addresses:
        return True
    if any(guest.names(one) for one in listed):
        return True
    return any(guest.site.server in value_parts(one.value) for one in addresses)


def _unknown_card(guest: DnsmasqGuest) -> None:
    if guest.interface is not None:
        return
    for directive in guest.rest.named("interface", "listen-address", "dhcp-range"):
        raise InputError(
            f"{guest.of_others(directive)}: dnsmasq serves others too, and nothing says which card the clients are on",
            "add interface: NAME to site.yml",
        )


def _in_network(text: str, network: ipaddress.IPv4Network) -> bool:
    try:
        return ipaddress.IPv4Address(text) in network
    except ValueError:
        return False


_CHECKS: tuple[Callable[[DnsmasqGuest], None], ...] = (
    _unknown_card,
    _range,
    _same_card,
    _other_servers,
    _card,
    _bound,
    _tftp,
    _boot,
    _ignored,
    _hosts,
    _same_answers,
)
