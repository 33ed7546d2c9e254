"""Which services a server of diskless clients runs, and in which order they start."""

from __future__ import annotations

from builder.model.site import Site
from builder.render.server.comments import comment, sections


def services_text(site: Site) -> str:
    """Commands to read and to run; systemd keeps the order at every later start."""
    addresses = site.gives_addresses
    nfs = (
        "1. NFS. rpcbind first: nfs-server (nfsd and mountd) tells it its ports, and NFSv3 clients ask there.\n"
        "The how-to of 2012 has `rpcbind nfs-common nfs-server` in DAEMONS: nfs-common was statd and idmapd, which\n"
        "systemd starts when they are needed. After a change of the exports: exportfs -ra, never a restart of all.",
        ["systemctl enable --now rpcbind nfs-server", "exportfs -ra"],
    )
    dhcp = "dnsmasq (format dnsmasq), or ISC dhcpd and a TFTP server (dhcpd, tftpd), never both:"
    if not addresses:
        dhcp = "dnsmasq as a proxy (format dnsmasq-proxy), or a TFTP server (tftpd) and your router's DHCP (router):"
    other = "isc-dhcp-server diskless-tftpd" if addresses else "diskless-tftpd"
    parts: list[tuple[str, list[str]]] = [
        ("services of a server for clients without disks: commands to run once, as root, in this order", []),
    ]
    if site.nfs_here:
        parts.append(nfs)
    if site.web_port_here is not None:
        title = f"{len(parts)}. HTTP, for kernels and initramfs images"
        parts.append((title, ["systemctl enable --now nginx"]))
    parts.append(
        (
            f"{len(parts)}. DHCP and TFTP last: a client that gets an address finds all the rest.\n{dhcp}",
            ["systemctl enable --now dnsmasq"],
        )
    )
    tail = (
        f"    systemctl enable --now {other}\n"
        "Debian's TFTP server is the unit tftpd-hpa instead of diskless-tftpd; under xinetd it is xinetd.\n"
        "Arch Linux calls dhcpd's unit dhcpd4."
    )
    return sections(*parts) + comment(tail + _elsewhere(site))


def _elsewhere(site: Site) -> str:
    """What other machines have to do."""
    lines = []
    if not site.nfs_here:
        networks = ", ".join(str(one.network) for one in site.client_networks)
        lines.append(f"{site.nfs_server} exports {site.nfs_path or 'the store'} to {networks}.")
    if site.web_address is not None and site.web_port_here is None:
        lines.append(f"{site.web_server} serves the store's boot/ as the root of its web server.")
    if site.has_relays:
        relayed = ", ".join(str(one.network) for one in site.client_networks if one.interface is None)
        lines.append(f"The routers of {relayed} pass DHCP on to {site.server} (DHCP relay, ip helper-address).")
    return "".join(f"\n{line}" for line in ["", "On other machines:", *lines]) if lines else ""
