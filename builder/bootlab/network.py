"""The lab's network: a bridge with the server's address, and one tap for each guest."""

from __future__ import annotations

from builder.bootlab.namespace import Namespace
from builder.bootlab.settings import ROUTER_ADDRESS, LabNetwork
from builder.system.run import Tool

TOOLS = (Tool("ip", "iproute2", "iproute2"),)
_HINT = "the kernel needs bridges and /dev/net/tun: modprobe bridge tun"


def set_up_network(namespace: Namespace, network: LabNetwork) -> None:
    """Makes the bridge and gives it the server's address."""
    bridge = network.interface
    for command in (
        ["ip", "link", "set", "lo", "up"],
        # without spanning tree a port forwards at once: a client's firmware does not wait 30 seconds
        ["ip", "link", "add", bridge, "type", "bridge", "stp_state", "0", "forward_delay", "0"],
        ["ip", "address", "add", network.server_with_prefix, "dev", bridge],
        # nodad: usable at once
        ["ip", "address", "add", ROUTER_ADDRESS, "dev", bridge, "nodad"],
        ["ip", "link", "set", bridge, "up"],
    ):
        namespace.check(command, hint=_HINT)


def add_tap(namespace: Namespace, network: LabNetwork, name: str) -> None:
    """Makes a tap for one guest and plugs it into the bridge."""
    namespace.check(["ip", "tuntap", "add", "dev", name, "mode", "tap"], hint=_HINT)
    namespace.check(["ip", "link", "set", name, "master", network.interface, "up"], hint=_HINT)
