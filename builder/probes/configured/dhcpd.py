"""What ISC dhcpd is told already: dhcpd.conf and what it includes.

Source: dhcpd.conf(5). Statements are read, not understood: subnets, hosts, and what stands inside them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.errors import InputError
from builder.model.share import ServedStore
from builder.model.site import Site
from builder.probes.configured.directive import Directive, read_configuration
from builder.probes.configured.reserved import Reserved
from builder.render.server.comments import store_in_heading
from builder.render.server.dhcpd import dhcpd_path

_DEEPEST = 16  # dhcpd itself ends where a file includes itself


@dataclass(frozen=True)
class DhcpdBlock:
    """A statement with what stands between its braces; `words` are those before them, without quotation marks."""

    directive: Directive
    words: tuple[str, ...]
    inner: tuple[DhcpdBlock, ...] = ()
    store: str | None = None

    @property
    def text(self) -> str:
        """The statement with its place and owner, for people."""
        whose = f", of the store {self.store}" if self.store else ""
        return f"{self.directive.place}: {' '.join(self.words)}{whose}"


def read_dhcpd(prefix: Path, main: str, *, without: str | None = None) -> tuple[DhcpdBlock, ...]:
    """Every statement, those of included files in place of the include; none of the file `without`.

    HostError where a file cannot be read.
    """
    return tuple(_read(prefix, main, without, 0))


def refuse_in_dhcpd(prefix: Path, main: str, site: Site, store: ServedStore) -> None:
    """InputError with the line of dhcpd.conf that says something else of the clients' network, or of a client."""
    whole = read_dhcpd(prefix, main, without=dhcpd_path(store.name))
    for block in whole:
        _refuse_for_all(block, site)
    blocks = list(_flat(whole))
    for block in blocks:
        network = _subnet(block)
        taken = [one.network for one in site.client_networks if network is not None and network.overlaps(one.network)]
        if taken:
            _refuse_subnet(block, taken[0])
    reserved = Reserved(site)
    for block in blocks:
        if block.words[:1] == ("host",):
            _refuse_host(block, reserved)


def _refuse_for_all(block: DhcpdBlock, site: Site) -> None:
    """What stands outside of every subnet is said to this store's clients too, and dhcpd has no way to unsay it."""
    networks = site.client_networks
    unsaid = {
        "routers": any(one.router is None for one in networks),
        "domain-name-servers": not all(one.nameservers for one in networks),
    }
    for name, key in (("routers", "router"), ("domain-name-servers", "nameservers")):
        # Debian's file has names of example.org there as it is installed
        if block.words[:2] == ("option", name) and unsaid[name] and "example.org" not in block.text:
            raise InputError(
                f"{block.text}: every subnet's clients are told so, this store's too, and site.yml has no {key}",
                f"put the line into the block of the subnet that it is for, or say {key} in site.yml",
            )


def _refuse_subnet(block: DhcpdBlock, network: ipaddress.IPv4Network) -> None:
    if block.store is not None:
        raise InputError(
            f"{block.text}: that store serves the network {network} already",
            f"give this store's clients a subnet of their own in site.yml, or deploy to {block.store}",
        )
    raise InputError(
        f"{block.text}: the clients' network {network} is declared there, for other machines too",
        "put the loader's lines into that block (next-server, filename: --format router names them), and do not "
        "install this format; or remove the block, and give its addresses in site.yml (dhcp, router, nameservers)",
    )


def _refuse_host(block: DhcpdBlock, reserved: Reserved) -> None:
    inner = [one.words for one in block.inner]
    cards = {words[2].lower() for words in inner if words[:2] == ("hardware", "ethernet") and len(words) > 2}
    addresses = {word.rstrip(",") for words in inner if words[:1] == ("fixed-address",) for word in words[1:]}
    shared = reserved.shared(cards, addresses)
    if shared is not None:
        raise InputError(
            f"{block.text}: {shared} is reserved there, and in site.yml",
            "leave one of the two out: remove that block, or the client's name and address in site.yml",
        )


def _subnet(block: DhcpdBlock) -> ipaddress.IPv4Network | None:
    if block.words[:1] != ("subnet",) or len(block.words) < 4:
        return None
    try:
        return ipaddress.IPv4Network(f"{block.words[1]}/{block.words[3]}", strict=False)
    except ValueError:
        return None


def _flat(blocks: Sequence[DhcpdBlock]) -> Iterator[DhcpdBlock]:
    for block in blocks:
        yield block
        yield from _flat(block.inner)


def _read(prefix: Path, path: str, without: str | None, depth: int) -> Iterator[DhcpdBlock]:
    text = None if path == without or depth > _DEEPEST else read_configuration(prefix, path)
    if text is not None:
        yield from _blocks(prefix, path, store_in_heading(text), _words(text), without, depth)


def _blocks(
    prefix: Path, path: str, store: str | None, words: Iterator[tuple[str, int]], without: str | None, depth: int
) -> Iterator[DhcpdBlock]:
    """Takes statements off `words` up to a closing brace or the end."""
    held: list[tuple[str, int]] = []
    for word, line in words:
        if word not in ("{", "}", ";"):
            held.append((word, line))
            continue
        inner: tuple[DhcpdBlock, ...] = ()
        if word == "{":
            inner = tuple(_blocks(prefix, path, store, words, without, depth))
        if held:
            names = tuple(one.strip('"') for one, _ in held)
            if names[0] == "include" and len(names) > 1:
                yield from _read(prefix, names[1], without, depth + 1)
            else:
                value = " ".join(names[1:])
                yield DhcpdBlock(Directive(path, held[0][1], names[0], value), names, inner, store)
        held = []
        if word == "}":
            return


def _words(text: str) -> Iterator[tuple[str, int]]:
    line, position = 1, 0
    while position < len(text):
        character = text[position]
        start = position
        if character == "#":
            position = _find(text, "\n", position)
            continue
        if character == '"':
            position = _find(text, '"', position + 1) + 1
            yield text[start:position], line
            line += text.count("\n", start, position)
            continue
        position += 1
        if character in "{};":
            yield character, line
        elif character == "\n":
            line += 1
        elif not character.isspace():
            while position < len(text) and text[position] not in '{};"#' and not text[position].isspace():
                position += 1
            yield text[start:position], line


def _find(text: str, what: str, start: int) -> int:
    found = text.find(what, start)
    return len(text) if found < 0 else found
