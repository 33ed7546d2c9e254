"""The first recipe and the first site file of somebody new: short, commented, and good as they are. Pure text."""

from __future__ import annotations

import ipaddress
import itertools
import json
from dataclasses import dataclass

from builder.distributions.table import DISTRIBUTIONS
from builder.model.recipe import DistributionName, RootMode

_SMALLEST_RANGE = 8


@dataclass(frozen=True)
class Answers:
    """What the texts depend on.

    suite: Debian's; mirrorlist: Arch's, on the build host; None: left to the defaults
    server: this server's address with its prefix; dhcp: first and last address that it gives out, None: another does
    ssh_key: a public key for root
    """

    distribution: DistributionName
    image: str
    mode: RootMode
    server: ipaddress.IPv4Interface
    suite: str | None = None
    mirrorlist: str | None = None
    interface: str | None = None
    router: str | None = None
    nameservers: tuple[str, ...] = ()
    dhcp: tuple[str, str] | None = None
    ssh_key: str | None = None


def address_range(server: ipaddress.IPv4Interface, taken: tuple[str, ...] = ()) -> tuple[str, str] | None:
    """Addresses for clients, in the middle of the subnet and free of the server's and `taken`; None without room."""
    network = server.network
    start, end = (int(network.network_address) + network.num_addresses * part // 256 for part in (100, 199))
    stops = sorted(int(ipaddress.IPv4Address(address)) for address in (str(server.ip), *taken))
    edges = [start - 1, *(stop for stop in stops if start <= stop <= end), end + 1]
    gaps = [(before + 1, after - 1) for before, after in itertools.pairwise(edges)]
    low, high = max(gaps, key=lambda gap: gap[1] - gap[0])
    if high - low < _SMALLEST_RANGE:
        return None
    return str(ipaddress.IPv4Address(low)), str(ipaddress.IPv4Address(high))


def recipe_text(answers: Answers) -> str:
    """IMAGE.yml."""
    return DISTRIBUTIONS[answers.distribution].first_recipe.format(
        image=answers.image,
        distribution=_distribution(answers),
        users=_users(answers.ssh_key),
        root=_ROOTS[answers.mode],
        hook="diskless" if answers.mode is RootMode.OVERLAY else "net",
        ip="ip=dhcp" if answers.mode is RootMode.OVERLAY else "ip=:::",
    )


def site_text(answers: Answers) -> str:
    """site.yml."""
    server = answers.server
    lines = [
        _SITE,
        "# this server, as clients see it",
        f"server: {server.ip}",
        f"subnet: {server.network}",
        *([f"interface: {answers.interface}"] if answers.interface else []),
        "",
        *_dhcp(answers),
        "",
        "# what clients are told besides",
        *([f"router: {answers.router}"] if answers.router else []),
        f"nameservers: [{', '.join(answers.nameservers)}]",
        _SITE_MORE.format(image=answers.image, example=_example(server)),
    ]
    return "\n".join(lines)


def _example(server: ipaddress.IPv4Interface) -> ipaddress.IPv4Address:
    return server.network.network_address + min(10, server.network.num_addresses - 1)


def _distribution(answers: Answers) -> str:
    more = {"suite": answers.suite, "mirrorlist": answers.mirrorlist}
    pairs = {"name": answers.distribution.value, **{key: value for key, value in more.items() if value}}
    return "{" + ", ".join(f"{key}: {value}" for key, value in pairs.items()) + "}"


def _users(ssh_key: str | None) -> str:
    """Who may log in; without a key, how to say it later. Lines of `system`."""
    text = json.dumps(ssh_key or "ssh-ed25519 AAAA... you@example.org", ensure_ascii=False)
    entry = f"- {{name: root, ssh_keys: [{text}]}}"
    if ssh_key:
        return f"  users:                    # who may log in, with ssh\n    {entry}"
    return f"  # nobody can log in yet: put your public ssh key (~/.ssh/id_*.pub) here\n  # users:\n  #   {entry}"


def _dhcp(answers: Answers) -> list[str]:
    proposal = answers.dhcp or address_range(answers.server)
    line = f"dhcp: {{first: {proposal[0]}, last: {proposal[1]}, lease: 12h}}" if proposal else "dhcp: ..."
    if answers.dhcp:
        return ["# addresses that this server gives to clients; no other DHCP server may be on that network", line]
    return ["# Another DHCP server gives the addresses. Where there is none, this one can:", f"# {line}"]


_ROOTS = {
    RootMode.RW: """\
# Clients write to their root, so each needs one of its own; `mode: overlay` is for one that many share.
root: {mode: rw, nfs: {version: 3}}
""",
    RootMode.OVERLAY: """\
# Any number of clients share this root, read-only; what one changes is in its memory, and gone when it is switched off.
# `mode: rw` is for a single client that keeps what it writes.
root: {mode: overlay, nfs: {version: 4.2}}
""",
}

_SITE = """\
# The site: what this server knows of its network and its clients; written by `diskless init`.
# It belongs into the directory that images are deployed to. Every key is in docs/site.md.
schema: 1
"""

_SITE_MORE = """
# the image that unknown clients boot; left out: the first that was deployed
# default: {image}

# clients that get an address, a name or an image of their own
# clients:
#   - {{mac: "52:54:00:12:34:56", name: desk-1, address: {example}}}
"""
