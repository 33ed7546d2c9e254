"""The networks that clients are on."""

from __future__ import annotations

import enum
import ipaddress
from dataclasses import dataclass

from builder.model.site.values import DEFAULT_LEASE, DhcpValue, Ipv4, LeaseTime, Subnet
from builder.model.syntax import Address, InterfaceName, key


@dataclass(frozen=True, kw_only=True)
class SiteDhcp:
    """Addresses for clients without one of their own; left out where another server gives them."""

    first: Ipv4 = key("the first address that unknown clients get")
    last: Ipv4 = key("the last one")
    lease: LeaseTime = key("how long a client may use it before it asks again", DEFAULT_LEASE)


class DhcpOptionType(enum.StrEnum):
    """How a DHCP option's values are sent; the names are Kea's."""

    IPV4_ADDRESS = "ipv4-address"
    STRING = "string"
    UINT8 = "uint8"
    UINT16 = "uint16"
    UINT32 = "uint32"
    BINARY = "binary"

    @property
    def bits(self) -> int | None:
        """Of a number, its width."""
        return {DhcpOptionType.UINT8: 8, DhcpOptionType.UINT16: 16, DhcpOptionType.UINT32: 32}.get(self)


@dataclass(frozen=True, kw_only=True)
class SiteDhcpOption:
    """A DHCP option that clients of a network get besides, where they ask for it; RFC 2132 and IANA's registry."""

    code: int = key("its number, such as 42 for time servers (NTP)")
    type: DhcpOptionType = key("how its values are sent; binary: bytes as hexadecimal digits")
    values: tuple[DhcpValue, ...] = key("its values; several for ipv4-address only")

    @property
    def data(self) -> bytes:
        """What is sent; ValueError where a value is none of its type."""
        if self.type is DhcpOptionType.IPV4_ADDRESS:
            return b"".join(ipaddress.IPv4Address(value).packed for value in self.values)
        (value,) = self.values
        if self.type is DhcpOptionType.STRING:
            return value.encode("ascii")
        if self.type is DhcpOptionType.BINARY:
            return bytes.fromhex(value.replace(":", ""))
        bits = self.type.bits or 8
        if not value.isdecimal() or int(value) >= 1 << bits:
            raise ValueError(value)
        return int(value).to_bytes(bits // 8, "big")


@dataclass(frozen=True, kw_only=True)
class SiteNetwork:
    """One network of clients.

    Without an interface the questions of its clients come through a DHCP relay, in its router for example.
    """

    subnet: Subnet = key("the network")
    interface: InterfaceName | None = key(
        "the server's network card that these clients are on; left out: a DHCP relay passes their questions on", None
    )
    dhcp: SiteDhcp | None = key("addresses for unknown clients there", None)
    router: Ipv4 | None = key("the clients' way out, and to the server where that has no address there", None)
    nameservers: tuple[Address, ...] = key("the clients' name servers; left out: none are sent", ())
    options: tuple[SiteDhcpOption, ...] = key("further DHCP options for these clients", ())

    @property
    def network(self) -> ipaddress.IPv4Network:
        """Its addresses."""
        return ipaddress.IPv4Network(self.subnet, strict=False)

    @property
    def dhcp_range(self) -> tuple[ipaddress.IPv4Address, ipaddress.IPv4Address] | None:
        """The first and the last address that unknown clients get; None where the site gives none."""
        if self.dhcp is None:
            return None
        return ipaddress.IPv4Address(self.dhcp.first), ipaddress.IPv4Address(self.dhcp.last)

    @property
    def lease(self) -> LeaseTime:
        """How long a client may use its address."""
        return self.dhcp.lease if self.dhcp else DEFAULT_LEASE

    def has(self, address: str | None) -> bool:
        """Whether an address is one of its own."""
        return address is not None and ipaddress.IPv4Address(address) in self.network


_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def lease_seconds(lease: str) -> int | None:
    """The seconds of a lease time, None for `infinite`."""
    if lease == "infinite":
        return None
    unit = lease[-1] if lease[-1] in _SECONDS else ""
    return int(lease.removesuffix(unit)) * _SECONDS[unit or "s"]
