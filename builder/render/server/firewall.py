"""nftables rules that let clients in: DHCP, TFTP, HTTP, NFS. Source: nft(8)."""

from __future__ import annotations

from builder.render.server.comments import comment
from builder.render.server.services import MOUNTD_PORT

FIREWALL_FILE = "/etc/nftables.d/diskless.nft"

_HEAD = f"""\
{FIREWALL_FILE} - lets clients without disks in
Put this line at the end of /etc/nftables.conf:  include "{FIREWALL_FILE}"
It adds to the table and chain that Debian's and Arch's files have, whatever their policy is; where yours have
other names, write those here."""


def firewall_rules(clients: str, http_port: int | None) -> str:
    """A file for nftables.conf to include; `clients` is the subnet that is let in."""
    rules = [
        ("answers, and what belongs to them: TFTP goes on at a port of its own", "ct state established,related accept"),
        ("DHCP: who has no address yet asks from 0.0.0.0 (67; 68 is the client's side)", "udp dport { 67, 68 } accept"),
        ("TFTP, and proxy DHCP (4011), which only the format dnsmasq-proxy uses", _from(clients, "udp", "69, 4011")),
        (
            "NFSv3 asks rpcbind (111) and mountd (20048) first, over either",
            _from(clients, "udp", f"111, {MOUNTD_PORT}"),
        ),
        (
            "the same and NFS itself (2049), the only one that NFSv4 needs",
            _from(clients, "tcp", f"111, 2049, {MOUNTD_PORT}"),
        ),
    ]
    if http_port is not None:
        rules.append(("kernels over HTTP", _from(clients, "tcp", str(http_port))))
    lines = [line for title, rule in rules for line in (f"        # {title}", f"        {rule}")]
    return comment(_HEAD) + "\n".join(
        [
            "table inet filter {",
            "    chain input {",
            "        type filter hook input priority filter;",
            "    }",
            "    chain diskless {",
            *lines,
            "    }",
            "}",
            "insert rule inet filter input jump diskless",
            "",
        ]
    )


def _from(clients: str, protocol: str, ports: str) -> str:
    return f"ip saddr {clients} {protocol} dport {{ {ports} }} accept"
