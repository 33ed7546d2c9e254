"""nftables rules that let clients in: DHCP, TFTP, HTTP, NFS. Source: nft(8)."""

from __future__ import annotations

from collections.abc import Sequence

from builder.model.share import ServedStore
from builder.render.server.comments import comment, heading
from builder.render.server.services import MOUNTD_PORT

_HEAD = """\
It adds to the table and chain that Debian's and Arch's files have, whatever their policy is; where yours have
other names, write those here."""


def firewall_path(name: str) -> str:
    """Where the rules of the store with this name lie."""
    return f"/etc/nftables.d/{name}.nft"


def firewall_rules(store: ServedStore, networks: Sequence[str], http_port: int | None, *, nfs: bool = True) -> str:
    """A file for nftables.conf to include; `networks` are those that are let in.

    http_port, nfs: what this server has for them besides DHCP and TFTP
    """
    clients = networks[0] if len(networks) == 1 else f"{{ {', '.join(networks)} }}"
    rules = [
        ("answers, and what belongs to them: TFTP goes on at a port of its own", "ct state established,related accept"),
        ("DHCP: who has no address yet asks from 0.0.0.0 (67; 68 is the client's side)", "udp dport { 67, 68 } accept"),
        ("TFTP, and proxy DHCP (4011), which only the format dnsmasq-proxy uses", _from(clients, "udp", "69, 4011")),
    ]
    if nfs:
        rules += [
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
    path = firewall_path(store.name)
    include = f'Put this line at the end of /etc/nftables.conf:  include "{path}"'
    head = f"{heading(path, 'lets clients without disks in', store.path)}\n{include}\n{_HEAD}"
    return comment(head) + "\n".join(
        [
            "table inet filter {",
            "    chain input {",
            "        type filter hook input priority filter;",
            "    }",
            f"    chain {store.name} {{",
            *lines,
            "    }",
            "}",
            f"insert rule inet filter input jump {store.name}",
            "",
        ]
    )


def _from(clients: str, protocol: str, ports: str) -> str:
    return f"ip saddr {clients} {protocol} dport {{ {ports} }} accept"
