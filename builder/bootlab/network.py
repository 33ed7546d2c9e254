"""The lab's network: a bridge with the server's address, and one tap for each guest."""

from __future__ import annotations

from builder.bootlab.namespace import Namespace
from builder.bootlab.settings import ROUTER_ADDRESS
from builder.model.site import Site
from builder.system.run import Tool

TOOLS = (Tool("ip", "iproute2", "iproute2"),)
_HINT = "the kernel needs bridges and /dev/net/tun: modprobe bridge tun"


def set_up_network(namespace: Namespace, site: Site) -> None:
    """Makes the site's interface, a bridge, and gives it the server's address."""
    bridge = bridge_of(site)
    for command in (
        ["ip", "link", "set", "lo", "up"],
        # without spanning tree a port forwards at once: a client's firmware does not wait 30 seconds
        ["ip", "link", "add", bridge, "type", "bridge", "stp_state", "0", "forward_delay", "0"],
        ["ip", "address", "add", f"{site.server}/{site.network.prefixlen}", "dev", bridge],
        # nodad: usable at once
        ["ip", "address", "add", ROUTER_ADDRESS, "dev", bridge, "nodad"],
        ["ip", "link", "set", bridge, "up"],
    ):
        namespace.check(command, hint=_HINT)


def add_tap(namespace: Namespace, site: Site, name: str, owner: int = 0) -> None:
    """Makes a tap for one guest, whose QEMU a user of the lab runs, and plugs it into the bridge."""
    namespace.check(["ip", "tuntap", "add", "dev", name, "mode", "tap", "user", str(owner)], hint=_HINT)
    namespace.check(["ip", "link", "set", name, "master", bridge_of(site), "up"], hint=_HINT)


def bridge_of(site: Site) -> str:
    """The interface of a site, which a lab has to make; ValueError where the site names none."""
    if site.interface is None:
        raise ValueError("the site of a lab names its interface")
    return site.interface
