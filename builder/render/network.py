"""What keeps the running system from losing the interface that its root comes through.

Sources: dhcpcd(8) and dhcpcd.conf(5) 9.4 (`inform`: no lease, the address stays when dhcpcd exits; `persistent` is
documented for a root on NFS); systemd.network(5): KeepConfiguration=yes since systemd 243, SendRelease=,
IgnoreCarrierLoss=; resolv.conf(5).
"""

from __future__ import annotations

from builder.model.entry import TreeEntry, TreeFile, TreeLink
from builder.model.recipe import Network, NetworkClient

_RESOLVED_STUB = "../run/systemd/resolve/stub-resolv.conf"


def network_entries(network: Network) -> list[TreeEntry]:
    """Configuration of the DHCP client and /etc/resolv.conf."""
    entries: list[TreeEntry] = [_resolver(network)]
    if network.client is NetworkClient.DHCPCD:
        entries.append(TreeFile("/etc/dhcpcd.conf", _dhcpcd(network).encode()))
    elif network.client is NetworkClient.NETWORKD:
        entries.append(TreeFile("/etc/systemd/network/10-diskless.network", _networkd(network).encode()))
    return entries


def network_arguments(network: Network) -> list[str]:
    """Kernel arguments that the recipe's interface name needs: eth0 exists only without predictable names."""
    return ["net.ifnames=0"] if (network.interface or "").startswith("eth") else []


def network_services(network: Network) -> list[str]:
    """Units to enable for the DHCP client."""
    units = {NetworkClient.DHCPCD: ["dhcpcd.service"], NetworkClient.NETWORKD: ["systemd-networkd.service"]}
    return units.get(network.client, [])


def _resolver(network: Network) -> TreeEntry:
    if network.nameservers:
        lines = [f"nameserver {address}" for address in network.nameservers]
        if network.search:
            lines.insert(0, "search " + " ".join(network.search))
        return TreeFile("/etc/resolv.conf", ("\n".join(lines) + "\n").encode())
    if network.client is NetworkClient.NETWORKD:
        return TreeLink("/etc/resolv.conf", _RESOLVED_STUB)
    # it must exist: Debian's dhcpcd.service names it in ReadWritePaths= and fails with 226/NAMESPACE without it
    return TreeFile("/etc/resolv.conf", b"# filled in by dhcpcd\n")


def _dhcpcd(network: Network) -> str:
    lines = [
        "# The kernel configured the interface to mount the root: nothing here may take its address away.",
        "persistent",
        "option domain_name_servers, domain_name, domain_search, host_name, ntp_servers, interface_mtu",
        "option classless_static_routes",
        "vendorclassid",
        "noipv4ll",
    ]
    if network.nameservers:
        lines.append("nohook resolv.conf")
    if network.interface is not None:
        lines += [f"allowinterfaces {network.interface}", f"interface {network.interface}"]
    if network.inform:
        lines += ["# ask for options only, and keep the address (dhcpcd -s)", "inform"]
    return "\n".join(lines) + "\n"


def _networkd(network: Network) -> str:
    match = f"Name={network.interface}" if network.interface is not None else "Type=ether"
    use_dns = "no" if network.nameservers else "yes"
    return f"""\
# The kernel configured the interface to mount the root: nothing here may take its address away.
[Match]
{match}

[Network]
DHCP=ipv4
KeepConfiguration=yes
IgnoreCarrierLoss=yes

[DHCPv4]
SendRelease=no
UseDNS={use_dns}
ClientIdentifier=mac
"""
