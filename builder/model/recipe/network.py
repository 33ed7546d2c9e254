"""Who owns the network of the running system."""

from __future__ import annotations

from dataclasses import dataclass

from builder.model.recipe.choices import NetworkClient, Resolver
from builder.model.syntax import Address, DomainName, InterfaceName, key


@dataclass(frozen=True, kw_only=True)
class Network:
    """What the running system does with the interface that carries its root."""

    client: NetworkClient = key(
        "what manages the network, or none; NetworkManager and ifupdown leave the boot interface as the kernel set it"
    )
    inform: bool = key(
        "dhcpcd only: keep the kernel's address as it is (dhcpcd -s): renew its lease, and only ask for options", False
    )
    interface: InterfaceName | None = key(
        "the interface; eth0 and its like also set net.ifnames=0; left out: any Ethernet", None
    )
    resolver: Resolver | None = key(
        "who fills /etc/resolv.conf. fixed: `nameservers`; kernel: what the boot's own DHCP request learnt; "
        "resolved: systemd-resolved; dhcp: the DHCP client. Left out: fixed with `nameservers`, else resolved with "
        "systemd-networkd, dhcp with dhcpcd, kernel with NetworkManager and ifupdown",
        None,
    )
    nameservers: tuple[Address, ...] = key("a fixed resolv.conf; left out: see `resolver`", ())
    search: tuple[DomainName, ...] = key("search domains of a fixed resolv.conf", ())

    @property
    def resolver_policy(self) -> Resolver:
        """The resolver that is meant where none is written."""
        if self.resolver is not None:
            return self.resolver
        return Resolver.FIXED if self.nameservers else _RESOLVERS[self.client]


_RESOLVERS = {
    NetworkClient.DHCPCD: Resolver.DHCP,
    NetworkClient.NETWORKD: Resolver.RESOLVED,
    NetworkClient.NETWORKMANAGER: Resolver.KERNEL,
    NetworkClient.IFUPDOWN: Resolver.KERNEL,
    NetworkClient.NONE: Resolver.FIXED,
}
