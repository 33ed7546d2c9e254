"""DHCP of another machine: what its own server has to be told.

Sources: dnsmasq(8), dhcp-option and dhcp-boot.
"""

from __future__ import annotations

from builder.model.share import ServedStore
from builder.model.site import Site
from builder.render.server.boot_files import choose_boot_files, describe
from builder.render.server.comments import comment, sections
from builder.render.server.dnsmasq import loader_options
from builder.render.server.dnsmasq_addresses import reservations
from builder.render.server.services import PXELINUX_MAGIC, path_prefix


def router_config(site: Site, store: ServedStore) -> str:
    """Lines for the DHCP server of a router that runs dnsmasq, and the words of others."""
    address = site.server
    files = choose_boot_files(site, store)
    names = "\n".join(f"  {describe(kind):53} {name}" for kind, name in files.firmware.items())
    others = f"""\
A router without dnsmasq has fields for the same, under other names:
  next-server, "TFTP server", "boot server", option 66:   {address}
  filename, "boot file", option 67, by option 93:
{names}
  where it cannot tell them apart, name the one that most of the machines need
  options 208 and 210, where it has them:                 {PXELINUX_MAGIC} and {path_prefix(site)}"""
    parts = [
        (
            "for the router: OpenWrt's /etc/dnsmasq.conf, DD-WRT's \"Additional Dnsmasq Options\"\n"
            f"The router keeps DHCP; {address} (this server) has TFTP: see the formats tftpd and xinetd.",
            [],
        ),
        ("the loader, and where PXELINUX finds its files", loader_options(site, files, f",diskless,{address}")),
    ]
    known = reservations(site.clients)
    if known:
        parts.append(("the clients that have an address or a name of their own", known))
    return sections(*parts) + "\n" + comment(others)
