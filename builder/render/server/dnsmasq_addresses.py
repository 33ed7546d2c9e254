"""dnsmasq's part that is about networks: ranges, known clients, routers, name servers, further options.

Sources: dnsmasq(8): a dhcp-range sets one tag, tag-if makes one of several; one_opt of option.c of dnsmasq 2.90: what
looks like an address or a number is one, colons between hexadecimal digits are bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from builder.model.site import DhcpOptionType, Site, SiteClient, SiteDhcpOption, SiteNetwork
from builder.render.server.boot_files import HTTP_CLIENT
from builder.render.server.comments import comment
from builder.render.server.services import ROOT_PATH_NOTE

_EVERY_CARD = "*:*:*:*:*:*"
# options that dnsmasq knows as names: its table, opttab of dhcp-common.c
_NAMES = {15, 17, 18, 40, 64}
_WORDS = re.compile(r"[g-zG-Z/_@+=~-]")
_WIDTHS = {DhcpOptionType.UINT8: "b", DhcpOptionType.UINT16: "s", DhcpOptionType.UINT32: "i"}
_BY_CARD = "firmware, initramfs and system name themselves differently: by its card each is one client with one address"
_POOL = """\
addresses: from the range that the rest of the configuration has for this network, as everybody's.
Who asks as firmware does, to boot from the network, is a client of this store, and nobody else is.
Firmware and system name themselves differently, and may use two addresses: one for those in site.yml"""


@dataclass(frozen=True)
class BesideNetwork:
    """What the rest of a dnsmasq's configuration makes of our part for one of the clients' networks.

    interface: the card that its clients' questions come to; None where nobody knows
    listens: whether dnsmasq serves that card without being told
    pool: whether it gives addresses of the network already, for the network's other machines too
    by_card: whether clients can be told apart by their cards alone without anybody else noticing
    """

    interface: str | None
    listens: bool = True
    pool: bool = False
    by_card: bool = True


@dataclass(frozen=True)
class BesideDnsmasq:
    """What the rest of a dnsmasq's configuration makes of our part.

    networks: in the order of the site's
    leases, transfers: limits to write, None where they are as they should be
    """

    networks: tuple[BesideNetwork, ...]
    leases: int | None = None
    transfers: int | None = None

    @property
    def pool(self) -> bool:
        """Whether dnsmasq gives addresses of some of the networks to everybody."""
        return any(one.pool for one in self.networks)

    @property
    def interfaces(self) -> tuple[str, ...] | None:
        """The cards that questions come to, each once; None where not all are known."""
        cards = [one.interface for one in self.networks if one.interface is not None]
        return tuple(dict.fromkeys(cards)) if len(cards) == len(self.networks) else None


def range_tags(site: Site, tag: str) -> list[str]:
    """The tag of the range of each network; several have one each, and the store's besides."""
    networks = site.client_networks
    return [tag] if len(networks) == 1 else [f"{tag}-net{number}" for number in range(1, len(networks) + 1)]


def join_tags(ranges: Sequence[str], tag: str) -> list[str]:
    """The lines that give clients of every range the store's tag."""
    return [f"tag-if=set:{tag},tag:{one}" for one in ranges if one != tag]


def reservations(clients: Sequence[SiteClient], *, tag: str | None = None, interface: str | None = None) -> list[str]:
    """The lines that give known clients their address and name; with a tag also by their cards alone."""
    known = [client for client in clients if client.address is not None or client.name is not None]
    before = f"tag:{interface}," if interface else ""
    marks = ("id:*", f"set:{tag}") if tag else ()
    return [
        f"dhcp-host={before}{','.join(filter(None, (client.mac, *marks, client.address, client.name)))}"
        for client in known
    ]


def address_parts(site: Site, tag: str, beside: BesideDnsmasq) -> list[tuple[str, list[str]]]:
    """Ranges, known clients and options: one part of one network, or one for each and what they have in common."""
    networks, tags = site.client_networks, range_tags(site, tag)
    if len(networks) == 1:
        (network,), (one,) = networks, beside.networks
        first = _pool_clients(tag) if one.pool else [_range(network, tag), *_by_card(site, beside)]
        hosts = [*_hosts(site, tag, beside), *_options(network, tag, one)]
        return [(_title(network, one), [*first, *hosts, *_root_path_note()])]
    parts = []
    for network, mark, one in zip(networks, tags, beside.networks, strict=True):
        start = [] if one.pool else [_range(network, mark), *join_tags([mark], tag)]
        title = f"{network.network}{'' if network.interface else ', through a relay'}: {_title(network, one)}"
        parts.append((title, [*start, *_options(network, mark, one)]))
    shared = _pool_clients(tag) if beside.pool else []
    shared += [*_by_card(site, beside), *_hosts(site, tag, beside), *_root_path_note()]
    return [*parts, ("clients of every network", shared)]


def _title(network: SiteNetwork, beside: BesideNetwork) -> str:
    if beside.pool:
        return _POOL
    if network.dhcp is None:
        return "addresses, for known clients only"
    return "addresses: unknown clients get one of the range"


def _range(network: SiteNetwork, tag: str) -> str:
    dhcp, addresses = network.dhcp, network.network
    start = f"{addresses.network_address},static" if dhcp is None else f"{dhcp.first},{dhcp.last}"
    return f"dhcp-range=set:{tag},{start},{addresses.netmask},{network.lease}"


def _by_card(site: Site, beside: BesideDnsmasq) -> list[str]:
    """Where unknown clients get addresses: each is one, whatever its programs call themselves."""
    giving = [
        one
        for network, one in zip(site.client_networks, beside.networks, strict=True)
        if network.dhcp is not None and not one.pool and one.by_card
    ]
    if not giving:
        return []
    cards = dict.fromkeys(one.interface for one in giving)
    lines = ["dhcp-ignore-clid"] if None in cards else [f"dhcp-host=tag:{card},{_EVERY_CARD},id:*" for card in cards]
    return [*comment(_BY_CARD).splitlines(), *lines]


def _pool_clients(tag: str) -> list[str]:
    return [f"dhcp-vendorclass=set:{tag},{name}" for name in ("PXEClient", HTTP_CLIENT)]


def _hosts(site: Site, tag: str, beside: BesideDnsmasq) -> list[str]:
    """Known clients, on the card that their questions come to; without an address on any card."""
    cards = [None if one.pool else one.interface for one in beside.networks]
    lines = []
    for client in site.clients:
        own = [
            card
            for network, card in zip(site.client_networks, cards, strict=True)
            if client.address is None or network.has(client.address)
        ]
        for card in dict.fromkeys(own):
            lines += reservations([client], tag=tag, interface=card)
    return lines


def _options(network: SiteNetwork, tag: str, beside: BesideNetwork) -> list[str]:
    """Router, name servers and more; an option without a value is not sent: dnsmasq would name itself."""
    if beside.pool:
        return []
    return [
        f"dhcp-option=tag:{tag},option:router{_values(network.router or '')}",
        f"dhcp-option=tag:{tag},option:dns-server{_values(*network.nameservers)}",
        *(f"dhcp-option=tag:{tag},{option.code}{_values(*_written(option))}" for option in network.options),
    ]


def _written(option: SiteDhcpOption) -> Iterator[str]:
    """The values of an option, so that dnsmasq reads them as what they are."""
    if option.type in _WIDTHS:
        yield f"{option.values[0]}{_WIDTHS[option.type]}"
    elif option.type is DhcpOptionType.BINARY or (
        option.type is DhcpOptionType.STRING and option.code not in _NAMES and not _WORDS.search(option.values[0])
    ):
        yield option.data.hex(":") if len(option.data) > 1 else f"{option.data[0]}b"
    else:
        yield from option.values


def _root_path_note() -> list[str]:
    return comment(ROOT_PATH_NOTE).splitlines()


def _values(*values: str) -> str:
    return "".join(f",{value}" for value in values if value)
