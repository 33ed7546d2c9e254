"""What the values of dnsmasq's DHCP options mean: ranges, hosts, and the tags that a line asks for.

Source: dnsmasq(8); one_opt of its option.c.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from builder.probes.configured.directive import Directive
from builder.probes.configured.dnsmasq import DnsmasqConfiguration, value_parts

_MAC = re.compile(r"(?:[0-9a-fA-F]{1,2}-)?((?:[0-9a-fA-F]{1,2}|\*)(?:[:-](?:[0-9a-fA-F]{1,2}|\*)){5})")
_TIME = re.compile(r"[0-9]+[smhdwSMHDW]?|infinite")
# options by name, as `dnsmasq --help dhcp` lists them, of those that are looked at
_OPTION_NUMBERS = {"router": 3, "dns-server": 6, "root-path": 17, "vendor-class": 60, "tftp-server": 66}
_OPTION_NUMBERS |= {"bootfile-name": 67, "vendor-encap": 43}
# what gives a client a tag by what it says of itself
_BY_WORDS = tuple(
    f"dhcp-{what}" for what in ("match", "name-match", "vendorclass", "userclass", "circuitid", "remoteid", "subscrid")
)
_BUILT_IN = ("known", "known-othernet", "bootp", "cpewan-id")


@dataclass(frozen=True)
class AddressRange:
    """A dhcp-range of IPv4.

    mode: dynamic, static or proxy; tag: what its clients get; asked: tags that a client must have
    """

    directive: Directive
    first: ipaddress.IPv4Address
    last: ipaddress.IPv4Address
    mode: str
    netmask: str | None = None
    tag: str | None = None

    @property
    def size(self) -> int:
        """How many addresses it can give."""
        return int(self.last) - int(self.first) + 1 if self.mode == "dynamic" else 0

    def touches(self, network: ipaddress.IPv4Network) -> bool:
        """Whether it is for this network, or part of it."""
        if self.first in network or self.last in network:
            return True
        mask = self.netmask or "255.255.255.255"
        return ipaddress.IPv4Network(f"{self.first}/{mask}", strict=False).overlaps(network)


@dataclass(frozen=True)
class ReservedHost:
    """A dhcp-host: the cards that it is for, lower case with colons, and what they get."""

    directive: Directive
    cards: tuple[str, ...]
    addresses: tuple[str, ...]
    name: str | None
    ignored: bool


@dataclass(frozen=True)
class Condition:
    """The tags that a line asks for, those with ! in front must be missing, and the rest of its value."""

    tags: tuple[str, ...]
    rest: tuple[str, ...]


def address_ranges(configuration: DnsmasqConfiguration) -> list[AddressRange]:
    """All ranges of IPv4."""
    return [one for directive in configuration.named("dhcp-range") if (one := _range(directive)) is not None]


def _range(directive: Directive) -> AddressRange | None:
    parts = value_parts(directive.value)
    tag = None
    while parts and re.search(r"[^ .:0-9a-fA-F]", parts[0]):
        word = parts.pop(0)
        if not word.startswith("tag:"):
            tag = re.sub(r"^(set|net):", "", word)
    try:
        first = ipaddress.IPv4Address(parts[0])
        dynamic = parts[1] not in ("static", "proxy")
        last = ipaddress.IPv4Address(parts[1]) if dynamic else first
    except (ValueError, IndexError):
        return None
    first, last = min(first, last), max(first, last)
    netmask = parts[2] if len(parts) > 2 and "." in parts[2] else None
    return AddressRange(directive, first, last, "dynamic" if dynamic else parts[1], netmask, tag)


def reserved_hosts(configuration: DnsmasqConfiguration) -> list[ReservedHost]:
    """All hosts that have something of their own."""
    return [_host(directive) for directive in configuration.named("dhcp-host")]


def _host(directive: Directive) -> ReservedHost:
    cards, addresses, name, ignored = [], [], None, False
    for part in value_parts(directive.value):
        card = _MAC.fullmatch(part)
        if card is not None:
            octets = re.split("[:-]", card[1])
            cards.append(":".join(octet if octet == "*" else f"{int(octet, 16):02x}" for octet in octets))
        elif part == "ignore":
            ignored = True
        elif _is_address(part):
            addresses.append(part)
        elif part and not re.match(r"(id|set|tag|net):|\[", part) and not _TIME.fullmatch(part):
            name = part
    return ReservedHost(directive, tuple(cards), tuple(addresses), name, ignored)


def condition(directive: Directive) -> Condition:
    """What a line that may be tagged asks for; dhcp-option also takes a bare word for a tag, as it once was written."""
    tags: list[str] = []
    rest: list[str] = []
    bare = directive.name in ("dhcp-option", "dhcp-option-force")
    for part in value_parts(directive.value):
        word = re.match(r"(?:tag|net):(.*)", part)
        if word is not None and not rest:
            tags.append(word[1].replace("#", "!", 1) if word[1].startswith("#") else word[1])
        elif bare and not rest and not re.match(r"[0-9]+$|option6?:|encap:|vi-encap:|vendor:", part):
            tags.append(part.replace("#", "!", 1))
        else:
            rest.append(part)
    return Condition(tuple(tags), tuple(rest))


def option_number(rest: Iterable[str]) -> int | None:
    """Which DHCP option the value of dhcp-option is for; None for one of IPv6, inside another, or not looked at."""
    word = next(iter(rest), "")
    if word.isdecimal():
        return int(word)
    return _OPTION_NUMBERS.get(word.removeprefix("option:").lower()) if word.startswith("option:") else None


def set_tags(configuration: DnsmasqConfiguration) -> set[str]:
    """Every tag that a line gives somebody."""
    found = set()
    for directive in configuration.directives:
        found |= {part[4:] for part in value_parts(directive.value) if part.startswith("set:")}
    return found | {one.tag for one in address_ranges(configuration) if one.tag is not None}


def possible_tags(configuration: DnsmasqConfiguration, own: Iterable[str]) -> set[str]:
    """The tags that clients may have which have those of `own`: by what they say, not by who they are."""
    found = {*own, *_BUILT_IN}
    for directive in configuration.named(*_BY_WORDS):
        found |= {re.sub(r"^(set|net):", "", part) for part in value_parts(directive.value)[:1]}
    for _ in configuration.named("tag-if"):  # one may lead to another
        for directive in configuration.named("tag-if"):
            parts = value_parts(directive.value)
            if all(one[4:] in found for one in parts if one.startswith("tag:") and not one.startswith("tag:!")):
                found |= {one[4:] for one in parts if one.startswith("set:")}
    return found


def may_apply(tags: Iterable[str], possible: set[str], certain: Iterable[str]) -> bool:
    """Whether a line with these tags may be for a client that has all of `certain` and some of `possible`."""
    sure = set(certain)
    return all(tag[1:] not in sure if tag.startswith("!") else tag in possible for tag in tags)


def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True
