"""TFTP where dnsmasq does not serve it: in.tftpd alone or under xinetd.

Sources: in.tftpd(8) of tftp-hpa, systemd.service(5), xinetd.conf(5).
"""

from __future__ import annotations

from builder.model.share import ServedStore
from builder.render.server.comments import heading, sections

DEFAULTS_FILE = "/etc/default/tftpd-hpa"
XINETD_FILE = "/etc/xinetd.d/tftp"

_WHAT = "TFTP for clients without disks, by {}"
# without -s the names that PXELINUX asks for, which are relative, would not be found
_SECURE = """\
--secure: the directory is the root of all names, and no link in it leads out of it
  (the how-to of 2012 lacks it: PXELINUX's relative names are then not found)"""


def tftpd_unit_path(name: str) -> str:
    """The unit of in.tftpd that serves the store with this name."""
    return f"/etc/systemd/system/{name}-tftpd.service"


def tftpd_defaults(store: ServedStore, address: str) -> str:
    """/etc/default/tftpd-hpa, which Debian's tftpd-hpa reads."""
    head = heading(DEFAULTS_FILE, _WHAT.format("Debian's tftpd-hpa"), store.path)
    return sections(
        (f"{head}\n{_SECURE}", []),
        ("who in.tftpd runs as; what it serves must be readable for all", ['TFTP_USERNAME="tftp"']),
        ("what it serves", [f'TFTP_DIRECTORY="{store.path}/boot"']),
        ("only on the clients' network", [f'TFTP_ADDRESS="{address}:69"', 'TFTP_OPTIONS="--secure"']),
    )


def tftpd_unit(store: ServedStore, address: str) -> str:
    """A systemd unit for in.tftpd where the distribution has none that fits."""
    path = tftpd_unit_path(store.name)
    head = f"{heading(path, _WHAT.format('in.tftpd of tftp-hpa'), store.path)}\n{_SECURE}"
    start = f"/usr/sbin/in.tftpd --foreground --secure --user nobody --address {address}:69 {store.path}/boot"
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
                f"ExecStart={start}",
                "Restart=on-failure",
                "RestartSec=2",
            ],
        ),
        (f"systemctl enable --now {store.name}-tftpd", ["[Install]", "WantedBy=multi-user.target"]),
    )


def xinetd_service(store: ServedStore, address: str) -> str:
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
        f"    server_args = -s -u nobody {store.path}/boot",
        "}",
    ]
    title = """\
-s: the directory is the root of all names, and no link in it leads out of it (the how-to of 2012 lacks it:
  PXELINUX's relative names are then not found)
wait: one in.tftpd takes over the socket and serves all clients, so no limit per client or second is needed
bind: only on the clients' network; user: it gives root up (-u) once it has the directory"""
    return sections(
        (heading(XINETD_FILE, _WHAT.format("in.tftpd under xinetd"), store.path), []),
        (title, lines),
    )
