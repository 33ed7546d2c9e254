"""The site: what one server knows of its network and its clients, as site.yml in its store says it."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated

from builder.model.recipe.choices import LoaderName
from builder.model.syntax import (
    Address,
    FilePath,
    HostName,
    ImageName,
    InterfaceName,
    KernelArgument,
    NfsOption,
    StorePath,
    Syntax,
    key,
)
from builder.model.version import VERSION, Version


def _with_colons(text: str) -> str:
    """A MAC address as other systems write it (52-54-00-12-34-56, 5254.0012.3456) in our form."""
    digits = re.sub(r"[-.: ]", "", text)
    return ":".join(digits[start : start + 2] for start in range(0, len(digits), 2))


MacAddress = Annotated[
    str,
    Syntax("MAC address", r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}", "52:54:00:12:34:56", correct=_with_colons),
]
IPV4 = Syntax(
    "IPv4 address", r"[0-9.]+", "192.168.1.1", ipaddress.IPv4Address, correct=lambda text: text.partition("/")[0]
)
Ipv4 = Annotated[str, IPV4]
Subnet = Annotated[
    str,
    Syntax(
        "IPv4 subnet",
        r"[0-9.]+/[0-9]+",
        "192.168.1.0/24",
        ipaddress.IPv4Network,
        correct=lambda text: str(ipaddress.IPv4Network(text, strict=False)),
    ),
]
SignerName = Annotated[str, Syntax("signer, as ssh-keygen(1) names it", r"[!-+\--~]{1,255}", "builder@example.org")]
VersionName = Annotated[Version, VERSION]
DEFAULT_LEASE = "12h"
LeaseTime = Annotated[str, Syntax("lease time", r"[0-9]{1,6}[smhd]?|infinite", "12h")]


@dataclass(frozen=True, kw_only=True)
class SiteClient:
    """One client that the server knows by its network card."""

    mac: MacAddress = key("its network card")
    name: HostName | None = key("its host name", None)
    address: Ipv4 | None = key("its address, which nobody else gets", None)
    image: ImageName | None = key("the image it boots, whatever the others boot", None)
    version: VersionName | None = key("the version of that image, instead of the active one", None)


@dataclass(frozen=True, kw_only=True)
class SiteDhcp:
    """Addresses for clients without one of their own; left out where another server gives them."""

    first: Ipv4 = key("the first address that unknown clients get")
    last: Ipv4 = key("the last one")
    lease: LeaseTime = key("how long a client may use it before it asks again", DEFAULT_LEASE)


@dataclass(frozen=True, kw_only=True)
class SiteSigner:
    """Who may sign one image, and what its channels mean."""

    image: ImageName = key("the image")
    names: tuple[SignerName, ...] = key("the signers, as the file of `trust` names them")


@dataclass(frozen=True, kw_only=True)
class Site:
    """One server of diskless clients."""

    schema: int = key("the version of this format: 1", 1, allowed=(1,))
    server: Ipv4 = key("this server's address, as clients see it")
    subnet: Subnet | None = key("the clients' network; left out: the server's /24", None)
    interface: InterfaceName | None = key("the server's network card that the clients are on", None)
    dhcp: SiteDhcp | None = key("addresses for unknown clients", None)
    router: Ipv4 | None = key("the clients' way out; left out: none", None)
    nameservers: tuple[Address, ...] = key("the clients' name servers; left out: none are sent", ())
    path: StorePath | None = key(
        "what clients call the store's directory, if the NFS server shows it under another name", None
    )
    nfs_options: tuple[NfsOption, ...] = key("mount options for every image, after its own", ())
    http_port: int | None = key("the port of a web server that serves the store's boot/; kernels come from it", None)
    loaders: tuple[LoaderName, ...] = key(
        "the boot loaders that clients get, the first that fits first; left out: pxelinux, grub, ipxe", ()
    )
    default: ImageName | None = key("the image that unknown clients boot; left out: the first that was deployed", None)
    menu_seconds: int = key("how long a client shows its menu; 0: it boots at once", 0)
    trust: FilePath | None = key(
        "a deploy refuses what none of these signed: an allowed_signers file, ssh-keygen(1)", None
    )
    signers: tuple[SiteSigner, ...] = key(
        "who may sign which image; left out: each of `trust` any; where it is given, nobody an image that is not in it",
        (),
    )
    revoked: FilePath | None = key(
        "keys that nobody is believed by any more: a list of public keys, or a list that `ssh-keygen -k` made", None
    )
    require_statement: bool = key(
        "whether a channel is refused that nobody signed, although none of its image ever was signed", default=False
    )
    cmdline: tuple[KernelArgument, ...] = key("kernel arguments for every image, after its own", ())
    clients: tuple[SiteClient, ...] = key("clients that get an address, a name or an image of their own", ())

    @property
    def network(self) -> ipaddress.IPv4Network:
        """The clients' network."""
        return ipaddress.IPv4Network(self.subnet or f"{self.server}/24", strict=False)

    @property
    def web_server(self) -> str | None:
        """The web server that serves the store's boot/, as addresses name it; None where there is none."""
        if self.http_port is None:
            return None
        return self.server if self.http_port == 80 else f"{self.server}:{self.http_port}"

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

    @property
    def known(self) -> tuple[SiteClient, ...]:
        """The clients that have an address of their own."""
        return tuple(client for client in self.clients if client.address is not None)


_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def lease_seconds(lease: str) -> int | None:
    """The seconds of a lease time, None for `infinite`."""
    if lease == "infinite":
        return None
    unit = lease[-1] if lease[-1] in _SECONDS else ""
    return int(lease.removesuffix(unit)) * _SECONDS[unit or "s"]
