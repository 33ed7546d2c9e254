"""rc.conf and what belongs to it, for derivatives of Arch Linux that keep initscripts.

Source: rc.conf of Arch's initscripts 2012, and the ArchWiki's "Diskless system" of that year. It is rendered and
tested as text; no such distribution was built here.
"""

from __future__ import annotations

from collections.abc import Iterator

from builder.inits.base import LEASE, RENEWER_SCRIPT, RESOLVER, EarlyService
from builder.model.entry import TreeEntry, TreeFile
from builder.model.fault import Fault
from builder.model.identity import KnownIdentity, RemovedFile
from builder.model.recipe import InitName, Network, NetworkClient, Recipe, Resolver, System

_ADDRESS = r"$(ifconfig {} | grep -o '[0-9]*\.[0-9\.]*' | head -n1)"

_EARLY_DAEMON = """\
#!/bin/sh
# written by diskless
case $1 in start | restart) {script} ;; esac
"""
_RENEWER_DAEMON = "/etc/rc.d/diskless-renew-lease"
# of which the image has one where something has to renew the lease
_THEN_RENEW = f'\n[ ! -x {_RENEWER_DAEMON} ] || {_RENEWER_DAEMON} "$1"\n'
_RENEWER = f"""\
#!/bin/sh
# written by diskless
case $1 in start) {RENEWER_SCRIPT} < /dev/null > /dev/null 2>&1 & ;; esac
"""


class Initscripts:
    """Daemons in rc.conf, which says all of them, what is enabled and what is masked."""

    name: InitName = InitName.INITSCRIPTS
    kind: str = "daemon"
    directories: tuple[str, ...] = ("/etc/rc.d",)
    clients: frozenset[NetworkClient] = frozenset(NetworkClient) - {NetworkClient.NETWORKD}
    resolvers: frozenset[Resolver] = frozenset(Resolver) - {Resolver.RESOLVED}
    enable: tuple[str, ...] = ()
    mask_directory: str | None = None
    resolver_file: str = f"/etc/rc.d/{RESOLVER.name}"
    update_stamps: tuple[str, ...] = ()
    begun: str = "INIT: version"
    speaks: str = "INIT: "
    lab_arguments: tuple[str, ...] = ()  # sysvinit takes no order for a shell from the kernel's command line
    power_off: str = "exec poweroff"

    def entries(self, recipe: Recipe) -> list[TreeEntry]:
        """/etc/rc.conf and /etc/conf.d/dhcpcd: nothing may take away the address that the root comes through."""
        return [
            TreeFile("/etc/rc.conf", _rc_conf(recipe.system, recipe.network).encode()),
            TreeFile("/etc/conf.d/dhcpcd", _dhcpcd(recipe.network).encode()),
        ]

    def early_entries(self, service: EarlyService) -> list[TreeEntry]:
        """A daemon, which rc.conf names before the network's."""
        text = _EARLY_DAEMON.format(script=service.script) + (_THEN_RENEW if service is LEASE else "")
        return [TreeFile(f"/etc/rc.d/{service.name}", text.encode(), 0o755)]

    def renewer_entries(self) -> list[TreeEntry]:
        """A daemon, which that of LEASE starts; nothing starts it again."""
        return [TreeFile(_RENEWER_DAEMON, _RENEWER.encode(), 0o755)]

    def identity_entries(self, known: KnownIdentity, removed: tuple[RemovedFile, ...]) -> list[TreeEntry]:
        """Nothing of ours runs that early."""
        return []

    def full_name(self, name: str) -> str:
        """As it is written."""
        return name

    def file_names(self, full_name: str) -> frozenset[str]:
        """Its script."""
        return frozenset((full_name,))

    def enabled(self, recipe: Recipe) -> list[str]:
        """Nothing: rc.conf says it."""
        return []

    def contradictions(self, recipe: Recipe) -> Iterator[Fault]:
        """What only systemd has, and a dhcpcd that would lose the root."""
        network = recipe.network
        for position, name in enumerate(recipe.system.masked):
            if "." in name or "@" in name:
                yield Fault(
                    ("system", "masked", position),
                    f"'{name}' is a unit of systemd, initscripts has daemons",
                    "write the daemon's name as in /etc/rc.d",
                )
        if network.client is NetworkClient.DHCPCD and not (network.inform and network.interface):
            yield Fault(
                ("network", "client"),
                "dhcpcd under initscripts would ask for a new address and lose the root",
                "add inform: true and interface: eth0, which make it keep the kernel's (dhcpcd -s)",
            )


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
        first.insert(0, RESOLVER.name)
    first.insert(0, LEASE.name)
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
