"""Which services a server of diskless clients runs, and in which order they start."""

from __future__ import annotations

from builder.render.server.comments import comment, sections


def services_text(*, addresses: bool, http: bool) -> str:
    """Commands to read and to run; systemd keeps the order at every later start.

    addresses: this server's own DHCP gives them; http: a web server serves kernels
    """
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
    parts = [
        ("services of a server for clients without disks: commands to run once, as root, in this order", []),
        nfs,
    ]
    if http:
        parts.append(("2. HTTP, for kernels and initramfs images", ["systemctl enable --now nginx"]))
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
    return sections(*parts) + comment(tail)
