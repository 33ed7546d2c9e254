"""Every text of a server's configuration, from the site and the store's directory."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from builder.model.share import ServedStore, Share
from builder.model.site import Site
from builder.render.server.dhcpd import dhcpd_config, dhcpd_path
from builder.render.server.dnsmasq import dnsmasq_config, drop_in_path
from builder.render.server.dnsmasq_addresses import BesideDnsmasq
from builder.render.server.firewall import firewall_path, firewall_rules
from builder.render.server.kea import KEA_FILE, kea_config
from builder.render.server.nginx import nginx_path, nginx_server
from builder.render.server.order import services_text
from builder.render.server.proxy import proxy_config
from builder.render.server.router import router_config
from builder.render.server.services import (
    GANESHA_FILE,
    GANESHA_UNIT,
    NFS_CONF_FILE,
    Export,
    exports,
    exports_path,
    ganesha_config,
    ganesha_unit,
    nfs_conf,
)
from builder.render.server.tftp import (
    DEFAULTS_FILE,
    XINETD_FILE,
    tftpd_defaults,
    tftpd_unit,
    tftpd_unit_path,
    xinetd_service,
)
from builder.render.server.windows import windows_config


class Format(enum.StrEnum):
    """The programs that a server can be configured for."""

    DNSMASQ = "dnsmasq"
    DNSMASQ_PROXY = "dnsmasq-proxy"
    ROUTER = "router"
    WINDOWS = "windows"
    DHCPD = "dhcpd"
    KEA = "kea"
    TFTPD = "tftpd"
    XINETD = "xinetd"
    EXPORTS = "exports"
    GANESHA = "ganesha"
    FIREWALL = "firewall"
    NGINX = "nginx"
    SERVICES = "services"


@dataclass(frozen=True)
class ServerFile:
    """One text: `path` is where it belongs, None where a person reads it or another machine gets it.

    restart: the command that makes the program take it
    """

    format: Format
    path: str | None
    text: str
    restart: str | None = None


# what two texts on one server must not both do
ROLES: dict[Format, tuple[str, ...]] = {
    Format.DNSMASQ: ("DHCP", "TFTP"),
    Format.DNSMASQ_PROXY: ("DHCP", "TFTP"),
    Format.DHCPD: ("DHCP",),
    Format.KEA: ("DHCP",),
    Format.TFTPD: ("TFTP",),
    Format.XINETD: ("TFTP",),
    Format.EXPORTS: ("NFS",),
    Format.GANESHA: ("NFS",),
    Format.NGINX: ("HTTP",),
    Format.FIREWALL: ("the firewall",),
}


def format_places(name: str) -> dict[str, tuple[Format, ...]]:
    """Which formats write to a place, for the store with this name."""
    return {
        drop_in_path(name): (Format.DNSMASQ, Format.DNSMASQ_PROXY),
        dhcpd_path(name): (Format.DHCPD,),
        KEA_FILE: (Format.KEA,),
        DEFAULTS_FILE: (Format.TFTPD,),
        tftpd_unit_path(name): (Format.TFTPD,),
        XINETD_FILE: (Format.XINETD,),
        exports_path(name): (Format.EXPORTS,),
        GANESHA_FILE: (Format.GANESHA,),
    }


def possible_formats(site: Site, store: ServedStore) -> tuple[Format, ...]:
    """The formats that make sense for a site, in the order in which they are read."""
    unfit = set() if site.gives_addresses else {Format.DNSMASQ, Format.DHCPD, Format.KEA}
    if site.web_port_here is None:
        unfit.add(Format.NGINX)
    if not site.nfs_here:
        unfit |= {Format.EXPORTS, Format.GANESHA}
    if site.nfs_path not in (None, store.path):
        unfit.add(Format.EXPORTS)
    if not store.shares:
        unfit |= {Format.EXPORTS, Format.GANESHA}
    return tuple(form for form in Format if form not in unfit)


def server_files(
    form: Format, site: Site, store: ServedStore, beside: BesideDnsmasq | None = None
) -> tuple[ServerFile, ...]:
    """The texts of one format; dnsmasq's beside what the rest of its configuration says."""
    if form in (Format.DNSMASQ, Format.DNSMASQ_PROXY):
        # where dnsmasq itself gives the network's addresses it cannot be a proxy beside itself
        pool = beside is not None and beside.pool
        render = proxy_config if form is Format.DNSMASQ_PROXY and not pool else dnsmasq_config
        text = render(site, store, beside)
        return (ServerFile(form, drop_in_path(store.name), text, "systemctl restart dnsmasq"),)
    return _RENDERERS[form](site, store)


def store_exports(site: Site, store: ServedStore) -> tuple[Export, ...]:
    """One export of each share."""
    path = site.nfs_path or store.path
    return tuple(
        Export(
            f"{store.path}/{share.path}",
            f"{path}/{share.path}",
            _clients_of(site, share),
            share.fsid,
            writable=share.writable,
            holds=share.holds,
        )
        for share in store.shares
    )


def clients_networks(site: Site) -> tuple[str, ...]:
    """Every network that clients are on."""
    return tuple(str(one.network) for one in site.client_networks)


def _clients_of(site: Site, share: Share) -> tuple[str, ...]:
    """Who may mount a share: of an image's own the clients that boot it, where the site knows all of them."""
    address_of = {client.mac: client.address for client in site.clients}
    booting = [address_of.get(own.client or "") for own in site.own_settings if own.image == share.image]
    addresses = tuple(address for address in booting if address is not None)
    if share.image is None or share.image == site.default or not addresses or len(addresses) < len(booting):
        return clients_networks(site)
    return addresses


def _router(site: Site, store: ServedStore) -> tuple[ServerFile, ...]:
    return (ServerFile(Format.ROUTER, None, router_config(site, store)),)


def _dhcpd(site: Site, store: ServedStore) -> tuple[ServerFile, ...]:
    text = dhcpd_config(site, store)
    return (ServerFile(Format.DHCPD, dhcpd_path(store.name), text, "systemctl restart isc-dhcp-server"),)


def _windows(site: Site, store: ServedStore) -> tuple[ServerFile, ...]:
    return (ServerFile(Format.WINDOWS, None, windows_config(site, store)),)


def _kea(site: Site, store: ServedStore) -> tuple[ServerFile, ...]:
    return (ServerFile(Format.KEA, KEA_FILE, kea_config(site, store), "systemctl restart kea-dhcp4-server"),)


def _tftpd(site: Site, store: ServedStore) -> tuple[ServerFile, ...]:
    """Debian's settings first, then a unit for distributions without them: one of the two is used."""
    defaults, unit = tftpd_defaults(store, site.server), tftpd_unit(store, site.server)
    name = f"{store.name}-tftpd"
    restart = f"systemctl daemon-reload && systemctl enable {name} && systemctl restart {name}"
    return (
        ServerFile(Format.TFTPD, DEFAULTS_FILE, defaults, "systemctl restart tftpd-hpa"),
        ServerFile(Format.TFTPD, tftpd_unit_path(store.name), unit, restart),
    )


def _xinetd(site: Site, store: ServedStore) -> tuple[ServerFile, ...]:
    text = xinetd_service(store, site.server)
    return (ServerFile(Format.XINETD, XINETD_FILE, text, "systemctl restart xinetd"),)


def _exports(site: Site, store: ServedStore) -> tuple[ServerFile, ...]:
    text = exports(store_exports(site, store), store)
    return (
        ServerFile(Format.EXPORTS, exports_path(store.name), text, "exportfs -ra"),
        ServerFile(Format.EXPORTS, NFS_CONF_FILE, nfs_conf(), "systemctl restart nfs-server"),
    )


def _ganesha(site: Site, store: ServedStore) -> tuple[ServerFile, ...]:
    exported = store_exports(site, store)
    restart = "systemctl restart nfs-ganesha"
    files = [ServerFile(Format.GANESHA, GANESHA_FILE, ganesha_config(exported, store), restart)]
    mounted = [export for export in exported if export.holds]
    if mounted and len(mounted) == len(exported):  # what 0.1 exported lies anywhere
        unit = ServerFile(
            Format.GANESHA, GANESHA_UNIT, ganesha_unit(mounted, store), f"systemctl daemon-reload && {restart}"
        )
        files.append(unit)
    return tuple(files)


def _firewall(site: Site, store: ServedStore) -> tuple[ServerFile, ...]:
    text = firewall_rules(store, clients_networks(site), site.web_port_here, nfs=site.nfs_here)
    return (ServerFile(Format.FIREWALL, firewall_path(store.name), text, "systemctl reload nftables"),)


def _nginx(site: Site, store: ServedStore) -> tuple[ServerFile, ...]:
    text = nginx_server(store, site.server, site.web_port_here or 80, clients_networks(site))
    return (ServerFile(Format.NGINX, nginx_path(store.name), text, "systemctl reload nginx"),)


def _services(site: Site, store: ServedStore) -> tuple[ServerFile, ...]:
    return (ServerFile(Format.SERVICES, None, services_text(site)),)


_RENDERERS: dict[Format, Callable[[Site, ServedStore], tuple[ServerFile, ...]]] = {
    Format.ROUTER: _router,
    Format.WINDOWS: _windows,
    Format.DHCPD: _dhcpd,
    Format.KEA: _kea,
    Format.TFTPD: _tftpd,
    Format.XINETD: _xinetd,
    Format.EXPORTS: _exports,
    Format.GANESHA: _ganesha,
    Format.FIREWALL: _firewall,
    Format.NGINX: _nginx,
    Format.SERVICES: _services,
}
