"""TFTP where dnsmasq does not serve it: in.tftpd alone or under xinetd.

Sources: in.tftpd(8) of tftp-hpa, systemd.service(5), xinetd.conf(5).
"""

from __future__ import annotations

from builder.render.server.comments import sections

DEFAULTS_FILE = "/etc/default/tftpd-hpa"
UNIT_FILE = "/etc/systemd/system/diskless-tftpd.service"
XINETD_FILE = "/etc/xinetd.d/tftp"

# without -s the names that PXELINUX asks for, which are relative, would not be found
_SECURE = """\
--secure: the directory is the root of all names, and no link in it leads out of it
  (the how-to of 2012 lacks it: PXELINUX's relative names are then not found)"""


def tftpd_defaults(tftp_root: str, address: str) -> str:
    """/etc/default/tftpd-hpa, which Debian's tftpd-hpa reads."""
    return sections(
        (f"{DEFAULTS_FILE} - TFTP for clients without disks, by Debian's tftpd-hpa\n{_SECURE}", []),
        ("who in.tftpd runs as; what it serves must be readable for all", ['TFTP_USERNAME="tftp"']),
        ("what it serves", [f'TFTP_DIRECTORY="{tftp_root}"']),
        ("only on the clients' network", [f'TFTP_ADDRESS="{address}:69"', 'TFTP_OPTIONS="--secure"']),
    )


def tftpd_unit(tftp_root: str, address: str) -> str:
    """A systemd unit for in.tftpd where the distribution has none that fits."""
    head = f"{UNIT_FILE} - TFTP for clients without disks, by in.tftpd of tftp-hpa\n{_SECURE}"
    return sections(
        (head, []),
        (
            "after the network has its addresses: it listens on the clients' network only",
            [
                "[Unit]",
                "Description=TFTP for clients without disks",
                "Documentation=man:in.tftpd(8)",
                "Wants=network-online.target",
                "After=network-online.target",
            ],
        ),
        (
            "in the foreground; tried again where the address comes late",
            [
                "[Service]",
                f"ExecStart=/usr/sbin/in.tftpd --foreground --secure --user nobody --address {address}:69 {tftp_root}",
                "Restart=on-failure",
                "RestartSec=2",
            ],
        ),
        ("systemctl enable --now diskless-tftpd", ["[Install]", "WantedBy=multi-user.target"]),
    )


def xinetd_service(tftp_root: str, address: str) -> str:
    """A service of xinetd that starts in.tftpd when a client asks."""
    lines = [
        "service tftp",
        "{",
        "    disable     = no",
        "    socket_type = dgram",
        "    protocol    = udp",
        "    wait        = yes",
        f"    bind        = {address}",
        "    user        = root",
        "    server      = /usr/sbin/in.tftpd",
        f"    server_args = -s -u nobody {tftp_root}",
        "}",
    ]
    title = """\
-s: the directory is the root of all names, and no link in it leads out of it (the how-to of 2012 lacks it:
  PXELINUX's relative names are then not found)
wait: one in.tftpd takes over the socket and serves all clients, so no limit per client or second is needed
bind: only on the clients' network; user: it gives root up (-u) once it has the directory"""
    return sections(
        (f"{XINETD_FILE} - TFTP for clients without disks, by in.tftpd under xinetd", []),
        (title, lines),
    )
