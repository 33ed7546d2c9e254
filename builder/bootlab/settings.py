"""The lab's site, and everything in which the lab differs from a real server and a real client, in one place.

The servers get the texts that `diskless server-config` writes for the same site, to the letter. What they are given
besides is here; docs/architecture.md lists it, and a test compares the two with what runs.
"""

from __future__ import annotations

from dataclasses import dataclass

from builder.bootlab.walls.identity import Identity
from builder.inits.table import INITS
from builder.model.recipe import LoaderName
from builder.model.site import Site, SiteDhcp

# Users of the lab: numbers that no distribution gives to an account, and systemd to no service (systemd's UIDS-GIDS.md,
# Debian's policy 9.2.2), so that nothing else on the host belongs to one of them. Each server has its own.
DNSMASQ_USER = Identity(65521, ("NET_ADMIN", "NET_BIND_SERVICE", "NET_RAW"))
QEMU_USER = Identity(65523)
# the web server and rpcbind begin as root, and become these users once they listen
WEB_UID, RPCBIND_UID = 65522, 65524
WEB_STARTER = Identity(0, ("DAC_READ_SEARCH", "NET_BIND_SERVICE", "SETGID", "SETUID"))
RPCBIND_STARTER = Identity(0, ("NET_BIND_SERVICE", "SETGID", "SETUID"))
# NFS servers are root, since root of a client owns files of any user: what it does to them takes these
GANESHA_USER = Identity(
    0, ("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "MKNOD", "SETGID", "SETUID")
)
MOUNTD_USER = Identity(0, ("DAC_READ_SEARCH",))
ACCOUNTS = {
    "root": 0,
    "dnsmasq": DNSMASQ_USER.uid,
    "_rpc": RPCBIND_UID,  # as Debian's rpcbind calls it
    "rpc": RPCBIND_UID,  # and Arch Linux'
    "nobody": 65534,
}

# what is in the lab's /etc besides accounts, tables of the host and the servers' own files
TEXTS = {
    "/etc/hosts": "127.0.0.1 localhost lab\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nrpc: files\n",
}
# mode and owner; RecoveryRoot's default lies in /var/lib/nfs
DIRECTORIES = {"/run/ganesha": (0o700, 0), "/run/rpcbind": (0o755, RPCBIND_UID), "/var/lib/nfs/ganesha": (0o700, 0)}

# QEMU's own filter of system calls; where it was built without there is only the lab's
QEMU_FILTER = ("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
# as much as a console log may have of what a guest says
CONSOLE_BYTES = 16 << 20

# beside dnsmasq's rendered configuration: serve no names, which is for the rest of a server's configuration to say;
# stay in the foreground, say everything, offer an address without first asking for three seconds whether somebody has
# it, and write nothing
DNSMASQ_OPTIONS = (
    "--port=0",
    "--keep-in-foreground",
    "--log-facility=-",
    "--log-dhcp",
    "--no-ping",
    "--leasefile-ro",
    "--pid-file",
)

# beside nfs-ganesha's rendered configuration: release 6 otherwise ends where CAP_SYS_RESOURCE is missing, as in most
# containers. What it then goes without, PR_SET_IO_FLUSHER, matters to a server that is short of memory. Release 4
# warns that it does not know it.
GANESHA_CORE = {"Allow_Set_Io_Flusher_Fail": "true"}

# stay in the foreground, log to the lab
GANESHA_OPTIONS = ("-F", "-L", "STDOUT", "-p", "/run/ganesha.pid")

# The kernel's server: as many threads as one guest can use. Nobody can have state to reclaim, but outside of the host's
# own network nfsd cannot know, and makes NFSv4 clients wait 90 s; 10 is the least.
NFSD_THREADS = 4
NFSD_GRACE_SECONDS = 10

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

# labs may all use the same subnet: each has a network of its own
LAB_SITE = Site(
    server="10.77.0.1",
    subnet="10.77.0.0/24",
    interface="lab0",
    dhcp=SiteDhcp(first="10.77.0.100", last="10.77.0.199"),
    nameservers=("10.77.0.1",),
    http_port=80,
    # QEMU's cards have iPXE in their ROM, which would be given a script where the lab has another loader to show
    loaders=(LoaderName.PXELINUX,),
    cmdline=KERNEL_ARGUMENTS,
)


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
