"""The texts of a server for diskless clients, rendered from its site."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from builder.checks.site import site_contradictions
from builder.errors import HostError, InputError
from builder.model.recipe import RootMode
from builder.model.share import FIRST_NAME, ServedStore
from builder.model.site import Site
from builder.reading import load_site
from builder.render.server.boot_files import asks_dhcp_for_groups
from builder.render.server.dnsmasq_addresses import BesideDnsmasq
from builder.render.server.files import Format, ServerFile, possible_formats, server_files
from builder.server_config.memory import read_memory
from builder.store.activation import site_of
from builder.store.inventory import read_inventory
from builder.store.layout import Store, find_store, store_name
from builder.store.records.record import MARKER
from builder.store.served_loaders import read_served_store


def find_site(root: Path, site_file: Path | None, server: str | None) -> Site:
    """The settings of the server that a store is on, or will be.

    A given file or DIR/site.yml; without one what the last deploy knew; the address `server` overrides. InputError
    where nothing says the address.
    """
    store = Store(root.resolve())
    path = site_file or store.site_file
    written = load_site(path) if site_file is not None or path.exists() else None
    site = site_of(store, server, written)
    for fault in site_contradictions(site):
        raise InputError(f"server {site.server}: {fault.message}", f"{fault.hint}, in {path}")
    return site


def served_store(root: Path) -> tuple[ServedStore, str | None]:
    """What servers are told of a store, or of the one that will be at `root`: that has nothing to export yet.

    And what is wrong with that, None where nothing is.
    """
    path, name = store_name(root), read_memory(root).name or FIRST_NAME
    if not (root / MARKER).exists():
        return ServedStore(path, (), name=name), None
    store = find_store(root)
    rw = any(manifest.root.mode is RootMode.RW for manifest in read_inventory(store).manifests)
    return replace(read_served_store(store, rw=rw), name=name), store.record.fault(path)


def choose_formats(site: Site, store: ServedStore, wanted: Sequence[Format] | None) -> tuple[Format, ...]:
    """The formats to render: what was asked for, or what one server needs: dnsmasq, an NFS server, nginx if it serves.

    InputError where the site lacks what a format needs.
    """
    if not store.shares and site.nfs_here and (wanted is None or _NFS_FORMATS & set(wanted)):
        raise HostError(
            f"{store.path} lies on a file system with other things, and clients would reach all of it",
            f"diskless storage --to {shlex.quote(store.path)} --ro SIZE gives the roots one of their own, such as 20G",
        )
    possible = possible_formats(site, store)
    if wanted is None:
        dhcp = Format.DNSMASQ if site.gives_addresses else Format.DNSMASQ_PROXY
        _refuse_prefixes(site, (dhcp,))
        return tuple(form for form in possible if form in (dhcp, _nfs(possible), Format.NGINX))
    for form in wanted:
        if form not in possible:
            raise InputError(f"format {form}: {_lack(form, site)[0]}", _lack(form, site)[1])
    _refuse_prefixes(site, wanted)
    return tuple(dict.fromkeys(wanted))


def _refuse_prefixes(site: Site, formats: Sequence[Format]) -> None:
    """InputError where clients of a group would not be told from others."""
    blind = [form for form in formats if form in (Format.DNSMASQ_PROXY, Format.WINDOWS)]
    if blind and asks_dhcp_for_groups(site):
        names = ", ".join(one.group for one in site.own_settings if one.group is not None)
        raise InputError(
            f"format {blind[0]}: it cannot tell clients of {names} by how their MAC addresses begin (mac_prefixes), "
            "and neither PXELINUX nor iPXE can",
            "the formats dnsmasq, dhcpd, kea and router can, and GRUB itself (loaders: [grub] in site.yml); or list "
            "the clients one by one",
        )


def _lack(form: Format, site: Site) -> tuple[str, str]:
    """Why a format makes no sense for the site, and what to do."""
    if form in _NFS_FORMATS and not site.nfs_here:
        return _NFS_ELSEWHERE
    return _HTTP_ELSEWHERE if form is Format.NGINX and site.web_address is not None else _LACKS[form]


_HTTP_ELSEWHERE = (
    "the site's web server is another machine",
    "let it serve the store's boot/ as its root; or remove http.address from the site file",
)
_NFS_FORMATS = {Format.EXPORTS, Format.GANESHA}
_NFS_ELSEWHERE = (
    "the site names an NFS server of its own, and it is another machine",
    "export the store there, to the same networks; or remove nfs from the site file",
)
_ADDRESSES = (
    "the site gives clients no addresses",
    "add dhcp: {first: ADDRESS, last: ADDRESS}, or clients with addresses; beside another DHCP use dnsmasq-proxy",
)
_LACKS = {
    Format.DNSMASQ: _ADDRESSES,
    Format.DHCPD: _ADDRESSES,
    Format.KEA: _ADDRESSES,
    Format.NGINX: ("the site has no http_port", "add http_port: 80 to the site file"),
    Format.EXPORTS: (
        "the site's path is another than the store's, and the kernel's server exports real paths only",
        "remove path, or use nfs-ganesha: --format ganesha",
    ),
}


def _nfs(possible: Sequence[Format]) -> Format:
    return Format.EXPORTS if Format.EXPORTS in possible else Format.GANESHA


def render_files(
    site: Site, store: ServedStore, formats: Sequence[Format], beside: BesideDnsmasq | None = None
) -> tuple[ServerFile, ...]:
    """The texts of several formats; dnsmasq's beside what else it is told, where that was looked at."""
    return tuple(file for form in formats for file in server_files(form, site, store, beside))
