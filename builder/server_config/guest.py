"""A store as a guest of the programs that are there: names and numbers that nobody has, and what stands in the way."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from builder.errors import InputError
from builder.model.share import FIRST_NAME, ServedStore
from builder.model.site import Site
from builder.probes.configured.dhcpd import refuse_in_dhcpd
from builder.probes.configured.directive import below
from builder.probes.configured.dnsmasq import read_dnsmasq
from builder.probes.configured.dnsmasq_guest import fit_dnsmasq, free_name
from builder.probes.configured.exports import fit_exports
from builder.probes.configured.inclusion import dhcpd_main
from builder.probes.ports import udp_port_holders
from builder.render.server.comments import store_in_heading
from builder.render.server.dnsmasq import drop_in_path
from builder.render.server.dnsmasq_addresses import BesideDnsmasq
from builder.render.server.files import ROLES, Format, format_places
from builder.render.server.services import exports_path
from builder.server_config.memory import ServerMemory

_DNSMASQ = {Format.DNSMASQ, Format.DNSMASQ_PROXY}
_PORTS = {"DHCP": 67, "TFTP": 69}
# the programs that are meant to have the port of what a format serves
_SERVERS = {
    Format.DNSMASQ: ("dnsmasq",),
    Format.DNSMASQ_PROXY: ("dnsmasq",),
    Format.DHCPD: ("dhcpd",),
    Format.KEA: ("kea-dhcp4",),
    Format.TFTPD: ("in.tftpd", "systemd"),
    Format.XINETD: ("xinetd", "in.tftpd"),
}


@dataclass(frozen=True)
class FittedStore:
    """A store that fits to what is there: with its name and its numbers, and what dnsmasq's part has to say."""

    store: ServedStore
    beside: BesideDnsmasq | None = None


def find_place(
    prefix: Path, site: Site, store: ServedStore, formats: Sequence[Format], memory: ServerMemory, *, nfs4: bool
) -> FittedStore:
    """How a store is served beside all that the programs of the server at `prefix` serve already.

    nfs4: whether any client mounts NFSv4
    InputError with the line (FILE:LINE) that is in the way, and what to put there.
    """
    store = replace(store, name=memory.name or _free_name(prefix, store))
    beside = None
    if _DNSMASQ & set(formats):
        beside = fit_dnsmasq(prefix, site, store)
        if Format.DNSMASQ_PROXY in formats:
            _refuse_half_a_proxy(site, beside)
    if Format.DHCPD in formats:
        refuse_in_dhcpd(prefix, dhcpd_main(prefix), site, store)
    if Format.EXPORTS in formats:
        exported = str(below(prefix, exports_path(store.name))) in memory.files
        store = fit_exports(prefix, store, exported=exported or _is_exported(prefix, store), nfs4=nfs4)
    if prefix.resolve() == Path("/"):
        _refuse_taken_ports(prefix, store, formats)
    return FittedStore(store, beside)


def _refuse_half_a_proxy(site: Site, beside: BesideDnsmasq) -> None:
    """One dnsmasq is a proxy for some networks, or gives addresses of all: our text has one of the two forms."""
    networks = [one.network for one in site.client_networks]
    pools = [network for network, one in zip(networks, beside.networks, strict=True) if one.pool]
    others = [network for network in networks if network not in pools]
    if pools and others:
        raise InputError(
            f"format dnsmasq-proxy: this server's dnsmasq gives addresses of {pools[0]} itself, and is to be a proxy "
            f"for those of {others[0]}",
            f"give the clients of {others[0]} addresses in site.yml (dhcp), or serve them from a store of their own",
        )


def _free_name(prefix: Path, store: ServedStore) -> str:
    """The first that no other store and no tag of dnsmasq has."""
    for number in itertools.count(1):
        name = FIRST_NAME if number == 1 else f"{FIRST_NAME}-{number}"
        own = (path for path in format_places(name) if name in path)  # the others are one for all stores
        owners = {owner for path in own if (owner := _owner(below(prefix, path), store)) is not None}
        if not owners - {store.path} and free_name(prefix, name):
            return name
    raise AssertionError("unreachable")


def _owner(path: Path, store: ServedStore) -> str | None:
    """The store that a file was written for; of a file of 0.1, which does not say it, some other one or this one."""
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return None
    owner = store_in_heading(text)
    if owner is None and "without disks" in text.split("\n", 1)[0]:
        owner = store.path if f"{store.path}/" in text else "?"
    return owner


def _is_exported(prefix: Path, store: ServedStore) -> bool:
    """Whether a file of 0.1 exports the store: clients may have its numbers."""
    path = below(prefix, exports_path(store.name))
    return path.is_file() and _owner(path, store) == store.path


def _refuse_taken_ports(prefix: Path, store: ServedStore, formats: Sequence[Format]) -> None:
    """A program that does not get one of its ports does not start, and dnsmasq then serves no names either."""
    rest = read_dnsmasq(prefix).without(drop_in_path(store.name))
    binds = bool(rest.named("bind-dynamic", "bind-interfaces"))
    for form in formats:
        for role in ROLES.get(form, ()):
            for holder in udp_port_holders(_PORTS[role]) if role in _PORTS else ():
                if holder.name in _SERVERS.get(form, ()) or (form in _DNSMASQ and binds and holder.name == "dnsmasq"):
                    continue
                who = f"{holder.name or 'another program'}{f' (process {holder.pid})' if holder.pid else ''}"
                raise InputError(
                    f"{who} has UDP port {_PORTS[role]} of this server: with {role} of {form} beside it "
                    f"{_SERVERS.get(form, (str(form),))[0]} would not start",
                    f"stop it for good (systemctl disable --now UNIT), or let it serve: {_other(role)}",
                )


def _other(role: str) -> str:
    return "--format dhcpd, kea or router" if role == "DHCP" else "--format tftpd or xinetd, and dhcpd or kea for DHCP"
