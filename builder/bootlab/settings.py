"""Everything in which the lab differs from a real server and a real client, in one place.

The rest is what the product renders for real servers, to the letter.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from builder.inits.table import INITS
from builder.render.server.services import Client

# RecoveryRoot's default lies there: a private tmpfs hides the host's
PRIVATE_DIRECTORIES = ("/run", "/var/lib/nfs")

# beside dnsmasq's rendered configuration: stay in the foreground, say everything, write nothing outside the lab, and
# offer an address without first asking for three seconds whether somebody has it
DNSMASQ_OPTIONS = ("--keep-in-foreground", "--user=root", "--log-facility=-", "--log-dhcp", "--no-ping")

# beside nfs-ganesha's rendered configuration: release 6 otherwise ends where CAP_SYS_RESOURCE is missing, as in most
# containers. What it then goes without, PR_SET_IO_FLUSHER, matters to a server that is short of memory. Release 4
# warns that it does not know it.
GANESHA_CORE = {"Allow_Set_Io_Flusher_Fail": "true"}

# QEMU's PXE ROM is iPXE, which waits 13 seconds for an IPv6 router and 3 for a ProxyDHCP server. The lab has a router
# that advertises no route and no name server, and tells iPXE (option 175, no-pxedhcp) that there is no proxy.
ROUTER_ADDRESS = "fd77::1/64"
FIRMWARE_OPTIONS = (
    "--dhcp-range=fd77::,ra-only",
    "--ra-param={interface},10,0",
    "--dhcp-option=option6:dns-server",
    "--dhcp-option=encap:175,176,1b",
)

# added to the kernel's command line of an otherwise unchanged image: the console on the first serial port, even of
# an image that asked for quiet, and a root shell on the second
KERNEL_ARGUMENTS = (
    "console=ttyS0,115200",
    "loglevel=7",
    *(argument for init in INITS.values() for argument in init.lab_arguments),
)


@dataclass(frozen=True)
class LabNetwork:
    """The lab's subnet. Labs may all use the same one: each has a network of its own."""

    interface: str = "lab0"
    server: str = "10.77.0.1"
    netmask: str = "255.255.255.0"
    first: str = "10.77.0.100"
    last: str = "10.77.0.199"
    clients: tuple[Client, ...] = ()

    @property
    def subnet(self) -> str:
        """The subnet, e.g. 10.77.0.0/24."""
        return str(ipaddress.ip_network(f"{self.server}/{self.netmask}", strict=False))

    @property
    def server_with_prefix(self) -> str:
        """The server's address as ip-address(8) wants it, e.g. 10.77.0.1/24."""
        return f"{self.server}/{ipaddress.ip_network(self.subnet).prefixlen}"


@dataclass(frozen=True)
class Patience:
    """Seconds that each part of a boot may take; a boot under emulation is slow, a hang is slower.

    login: from power-on to the login prompt
    units: from there until every unit has started or failed
    check: each command inside
    power_off: from the order to the guest's end
    """

    login: float = 300
    units: float = 120
    check: float = 120
    power_off: float = 120


@dataclass(frozen=True)
class LabSettings:
    """What a lab can be asked to do otherwise; the defaults boot an image as a client would."""

    network: LabNetwork = field(default_factory=LabNetwork)
    patience: Patience = field(default_factory=Patience)
    http: bool = True
    kernel_arguments: tuple[str, ...] = KERNEL_ARGUMENTS
