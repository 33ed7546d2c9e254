"""What keeps the running system from losing the interface that its root comes through.

What each client needs today:

- dhcpcd(8) and dhcpcd.conf(5) 9.4: `persistent` is documented for a root on NFS; `nolink`, or a pulled cable takes the
  address within a second; `noconfigure` renews a lease without touching the card, `request` asks for the address that
  it has, and /etc/dhcpcd.enter-hook says that the card is configured all the same. `inform` (dhcpcd -s) has no lease,
  so that nobody renews the one that the boot took.
- systemd.network(5): KeepConfiguration=yes since systemd 243 (systemd#13555), SendRelease=, IgnoreCarrierLoss=. Its
  own default looks for a root on a network file system (systemd#22383), which an overlay is not.
- NetworkManager.conf(5) 1.42: `unmanaged-devices` of [keyfile], a device list (`interface-name:`, `type:`);
  `no-auto-default`, or it would start DHCP on every card; `dns=none` where resolv.conf is not its own.
- interfaces(5) of ifupdown 0.8: `manual` configures nothing; an interface that is neither `auto` nor `allow-hotplug`
  is not touched by `ifup -a` and `ifdown -a`, which networking.service runs when it starts and stops.
"""

from __future__ import annotations

from collections.abc import Callable

from builder.model.entry import TreeEntry, TreeFile
from builder.model.recipe import Network, NetworkClient
from builder.render.image.resolver import is_left_to_clients

# dhcpcd-run-hooks(8) reads it before its hooks, which leave resolv.conf alone where dhcpcd configures nothing
_ENTER_HOOK = """\
# written by diskless: the card is configured, by the initramfs, and what the lease says besides is to be used
if_configured=true
"""


def network_entries(network: Network) -> list[TreeEntry]:
    """Configuration of what manages the network."""
    if network.client is NetworkClient.NONE:
        return []
    path, render = _FILES[network.client]
    hook = [TreeFile("/etc/dhcpcd.enter-hook", _ENTER_HOOK.encode())] if network.inform else []
    return [TreeFile(path, render(network).encode()), *hook]


def network_arguments(network: Network) -> list[str]:
    """Kernel arguments that the recipe's interface name needs: eth0 exists only without predictable names."""
    return ["net.ifnames=0"] if (network.interface or "").startswith("eth") else []


def _dhcpcd(network: Network) -> str:
    lines = [
        "# The kernel configured the interface to mount the root: nothing here may take its address away.",
        "persistent",
        "# nor may a pulled cable",
        "nolink",
        "option domain_name_servers, domain_name, domain_search, host_name, ntp_servers, interface_mtu",
        "option classless_static_routes",
        "vendorclassid",
        "noipv4ll",
    ]
    if not is_left_to_clients(network):
        lines.append("nohook resolv.conf")
    if network.interface is not None:
        lines += [f"allowinterfaces {network.interface}", f"interface {network.interface}"]
    if network.inform:
        lines += ["# keep the address as it is (dhcpcd -s): renew its lease, and only ask for options", *RENEWED[-2:]]
    return "\n".join(lines) + "\n"


def _networkd(network: Network) -> str:
    match, others, metric = f"Name={network.interface}", "", ""
    if network.interface is None:
        # early in the boot the one card that carries the root gets a file of its own, in /run, without these
        match, others, metric = "Type=ether", "\n[Link]\nRequiredForOnline=no\n", "RouteMetric=2048\n"
    use_dns = "yes" if is_left_to_clients(network) else "no"
    return f"""\
# The kernel configured the interface to mount the root: nothing here may take its address away.
[Match]
{match}
{others}
[Network]
DHCP=ipv4
KeepConfiguration=yes
IgnoreCarrierLoss=yes

[DHCPv4]
SendRelease=no
UseDNS={use_dns}
UseHostname=no
{metric}ClientIdentifier=mac
"""


def _network_manager(network: Network) -> str:
    match = f"interface-name:{network.interface}" if network.interface is not None else "type:ethernet"
    dns = "" if is_left_to_clients(network) else "dns=none\n"
    return f"""\
# The kernel configured the interface to mount the root: NetworkManager leaves it alone.
[main]
no-auto-default=*
{dns}
[keyfile]
unmanaged-devices={match}
"""


def _ifupdown(network: Network) -> str:
    own = "" if network.interface is None else f"\niface {network.interface} inet manual\n"
    return f"""\
# The kernel configured the interface to mount the root: neither ifup nor ifdown touches it.
source /etc/network/interfaces.d/*

auto lo
iface lo inet loopback
{own}"""


# dhcpcd.conf(5): keeps the lease of the address that the kernel has, and configures nothing
RENEWED = ("persistent", "nolink", "noipv4ll", "noconfigure", "request")
NETWORKD_FILE = "/etc/systemd/network/10-diskless.network"
_FILES: dict[NetworkClient, tuple[str, Callable[[Network], str]]] = {
    NetworkClient.DHCPCD: ("/etc/dhcpcd.conf", _dhcpcd),
    NetworkClient.NETWORKD: (NETWORKD_FILE, _networkd),
    NetworkClient.NETWORKMANAGER: ("/etc/NetworkManager/conf.d/10-diskless.conf", _network_manager),
    NetworkClient.IFUPDOWN: ("/etc/network/interfaces", _ifupdown),
}
