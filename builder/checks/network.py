"""Contradictions of the network: clients that would take the root away, a resolv.conf that nobody fills."""

from __future__ import annotations

from collections.abc import Iterator

from builder.distributions.table import DISTRIBUTIONS, distro_of, titles
from builder.inits.table import INITS, init_of
from builder.model.fault import Fault, Place
from builder.model.recipe import NetworkClient, Recipe, Resolver

_RESOLVER_LIMIT = 3  # MAXNS, resolv.conf(5)
_RESOLVED = {"systemd-resolved", "systemd-resolved.service"}
_POLICY: Place = ("network", "resolver")


def network_contradictions(recipe: Recipe) -> Iterator[Fault]:
    """All contradictions of the recipe's network."""
    yield from _client(recipe)
    yield from _resolver(recipe)
    yield from _nameservers(recipe)


def _client(recipe: Recipe) -> Iterator[Fault]:
    network = recipe.network
    if network.client not in init_of(recipe).clients:
        inits = " or ".join(name for name, init in INITS.items() if network.client in init.clients)
        yield Fault(("network", "client"), f"{network.client} needs system.init: {inits}", "use dhcpcd, or none")
    if network.inform and network.client is not NetworkClient.DHCPCD:
        yield Fault(
            ("network", "inform"),
            f"'inform' is dhcpcd's, the client is {network.client}",
            "remove it, or set client: dhcpcd",
        )
    if network.client not in (clients := distro_of(recipe).clients):
        owners = titles(distro for distro in DISTRIBUTIONS.values() if network.client in distro.clients)
        yield Fault(
            ("network", "client"),
            f"{network.client} is {owners}'s",
            f"use {', '.join(clients[:-1])} or {clients[-1]}",
        )
    if (network.interface or "").startswith("eth") and "net.ifnames=1" in recipe.boot.cmdline:
        yield Fault(
            ("network", "interface"), f"{network.interface} does not exist with net.ifnames=1", "remove one of the two"
        )


def _resolver(recipe: Recipe) -> Iterator[Fault]:
    network = recipe.network
    policy = network.resolver_policy
    if policy is Resolver.FIXED and not network.nameservers:
        if network.resolver is None:
            yield Fault(
                ("network", "client"),
                "with client: none nothing would ever fill /etc/resolv.conf",
                "add nameservers: [ADDRESS], or resolver: kernel",
            )
        else:
            yield Fault(_POLICY, "resolver: fixed is made of name servers, and there are none", _ADD)
    if policy is not Resolver.FIXED and network.nameservers:
        yield Fault(
            _POLICY, f"resolver: {policy} takes no nameservers", "remove one of the two, or write resolver: fixed"
        )
    if policy is Resolver.DHCP and network.client is not NetworkClient.DHCPCD:
        yield Fault(
            _POLICY,
            f"resolver: dhcp needs a client that asks for name servers, {network.client} does not",
            "use resolver: resolved, or nameservers: [ADDRESS]"
            if network.client is NetworkClient.NETWORKD
            else "use resolver: kernel, or nameservers: [ADDRESS]",
        )
    if policy is Resolver.RESOLVED:
        yield from _resolved(recipe)


_ADD = "add nameservers: [ADDRESS]"


def _resolved(recipe: Recipe) -> Iterator[Fault]:
    network = recipe.network
    place = _POLICY if network.resolver else ("network", "client")
    distro = distro_of(recipe)
    packaged = distro.resolved_package is not None
    where, names = ("packages", recipe.package_names) if packaged else ("system.services", recipe.system.services)
    if network.resolver_policy not in init_of(recipe).resolvers:
        inits = " or ".join(name for name, init in INITS.items() if network.resolver_policy in init.resolvers)
        yield Fault(place, f"systemd-resolved needs system.init: {inits}", "use resolver: kernel, or nameservers")
    elif not _RESOLVED & set(names):
        what = (
            "resolver: resolved needs systemd-resolved"
            if network.resolver
            else "systemd-networkd alone never fills /etc/resolv.conf"
        )
        yield Fault(
            place, what, f"add {distro.resolved_package or 'systemd-resolved'} to {where}, or nameservers: [ADDRESS]"
        )
    elif network.client is NetworkClient.DHCPCD and distro.resolvconf_package not in (None, *recipe.package_names):
        yield Fault(
            place,
            "dhcpcd tells systemd-resolved nothing without a resolvconf program",
            f"add {distro.resolvconf_package} to packages",
        )
    if network.client in (NetworkClient.NETWORKMANAGER, NetworkClient.IFUPDOWN, NetworkClient.NONE):
        yield Fault(
            place,
            f"client: {network.client} leaves the boot interface alone, so systemd-resolved would learn no name server",
            "use resolver: kernel, or nameservers: [ADDRESS]",
        )


def _nameservers(recipe: Recipe) -> Iterator[Fault]:
    network = recipe.network
    if network.search and not network.nameservers:
        yield Fault(("network", "search"), "'search' belongs to a fixed resolv.conf", _ADD)
    if len(network.nameservers) > _RESOLVER_LIMIT:
        yield Fault(
            ("network", "nameservers"),
            f"{len(network.nameservers)} name servers, but resolvers read only {_RESOLVER_LIMIT}",
            f"keep the best {_RESOLVER_LIMIT}",
        )
