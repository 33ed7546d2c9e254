"""rc.conf and what belongs to it, for derivatives of Arch Linux that keep initscripts.

Source: rc.conf of Arch's initscripts 2012, and the ArchWiki's "Diskless system" of that year. It is rendered and
tested as text; no such distribution was built here.
"""

from __future__ import annotations

from builder.model.entry import TreeEntry, TreeFile
from builder.model.recipe import Network, NetworkClient, Resolver, System
from builder.render.image.resolver import DAEMON

_ADDRESS = r"$(ifconfig {} | grep -o '[0-9]*\.[0-9\.]*' | head -n1)"


def initscripts_entries(system: System, network: Network) -> list[TreeEntry]:
    """/etc/rc.conf and /etc/conf.d/dhcpcd: nothing may take away the address that the root comes through."""
    return [
        TreeFile("/etc/rc.conf", _rc_conf(system, network).encode()),
        TreeFile("/etc/conf.d/dhcpcd", _dhcpcd(network).encode()),
    ]


def _rc_conf(system: System, network: Network) -> str:
    lines = [
        f'LOCALE="{system.locale}"',
        'HARDWARECLOCK="UTC"',
        f'TIMEZONE="{system.timezone}"',
        f'HOSTNAME="{system.hostname}"',
        "",
    ]
    if network.client is NetworkClient.DHCPCD:
        lines.append(f"interface={network.interface}")
    lines += [
        "# the interface stays up at shutdown: the root is unmounted over it",
        'NETWORK_PERSIST="yes"',
        "",
        f"DAEMONS=({' '.join(_daemons(system, network))})",
    ]
    return "\n".join(lines) + "\n"


def _daemons(system: System, network: Network) -> list[str]:
    """In the order of starting; `!` before a name keeps rc.d(8) from starting it, whatever else would."""
    first = ["network" if network.client is NetworkClient.DHCPCD else "!network"]
    if network.resolver_policy is Resolver.KERNEL:
        first.insert(0, DAEMON)
    if network.client is NetworkClient.NETWORKMANAGER:
        first += ["dbus", "networkmanager"]
    masked = [f"!{name}" for name in system.masked]
    return list(dict.fromkeys([*first, *system.services, *masked]))


def _dhcpcd(network: Network) -> str:
    address = _ADDRESS.format(network.interface or "eth0")
    return (
        "# Arguments to be passed to the DHCP client daemon: keep the address that the kernel got (dhcpcd -s)\n"
        f'DHCPCD_ARGS=" -s {address}"\n'
    )
