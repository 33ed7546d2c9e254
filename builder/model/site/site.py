"""The site: what one server knows of its network and its clients, as site.yml in its store says it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from builder.model.recipe.choices import LoaderName
from builder.model.site.client import BootSettings, SiteClient, SiteGroup, client_settings, group_settings
from builder.model.site.entry import LOCAL_DISK, SiteEntry, Unknown
from builder.model.site.network import SiteDhcp, SiteNetwork
from builder.model.site.servers import SiteHttp, SiteNfs
from builder.model.site.values import Ipv4, SignerName, Subnet
from builder.model.syntax import (
    Address,
    FilePath,
    ImageName,
    InterfaceName,
    KernelArgument,
    NfsOption,
    StorePath,
    key,
)


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
    subnet: Subnet | None = key("the clients' network; left out: the server's /24, or `networks` alone", None)
    interface: InterfaceName | None = key("the server's network card that the clients are on", None)
    dhcp: SiteDhcp | None = key("addresses for unknown clients", None)
    router: Ipv4 | None = key("the clients' way out; left out: none", None)
    nameservers: tuple[Address, ...] = key("the clients' name servers; left out: none are sent", ())
    networks: tuple[SiteNetwork, ...] = key(
        "several networks of clients, instead of the keys above (subnet to nameservers) or, with subnet, beside them",
        (),
    )
    path: StorePath | None = key(
        "what clients call the store's directory, if the NFS server shows it under another name", None
    )
    nfs_options: tuple[NfsOption, ...] = key("mount options for every image, after its own", ())
    nfs: SiteNfs | None = key("an NFS server of its own; left out: this server", None)
    http_port: int | None = key("the port of a web server that serves the store's boot/; kernels come from it", None)
    http: SiteHttp | None = key("the same, where the web server may be another machine; left out: http_port", None)
    loaders: tuple[LoaderName, ...] = key(
        "the boot loaders that clients get, the first that fits first; left out: pxelinux, grub, ipxe", ()
    )
    default: ImageName | None = key("the image that unknown clients boot; left out: the first that was deployed", None)
    unknown: Unknown = key(
        "what clients boot that are in no list: an image, nothing (refuse) or their local disk", Unknown.BOOT
    )
    local_disk: bool = key("whether menus have an entry for the client's local disk, local-disk", default=False)
    entries: tuple[SiteEntry, ...] = key("entries of your own, after the images", ())
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
    groups: tuple[SiteGroup, ...] = key("clients that boot alike", ())
    clients: tuple[SiteClient, ...] = key("clients that get an address, a name or an image of their own", ())

    @property
    def network(self) -> ipaddress.IPv4Network:
        """The first of the clients' networks."""
        return self.client_networks[0].network

    @property
    def client_networks(self) -> tuple[SiteNetwork, ...]:
        """Every network of clients; that of the keys of the site itself comes first."""
        if self.networks and self.subnet is None:
            return self.networks
        own = SiteNetwork(
            subnet=self.subnet or str(ipaddress.IPv4Network(f"{self.server}/24", strict=False)),
            interface=self.interface,
            dhcp=self.dhcp,
            router=self.router,
            nameservers=self.nameservers,
        )
        return (own, *self.networks)

    @property
    def interfaces(self) -> tuple[str, ...]:
        """The cards of this server that clients are on, each once."""
        return tuple(dict.fromkeys(one.interface for one in self.client_networks if one.interface is not None))

    @property
    def has_relays(self) -> bool:
        """Whether some clients' questions come through a relay: of one network alone the card may be unsaid."""
        return bool(self.networks) and any(one.interface is None for one in self.client_networks)

    @property
    def nfs_server(self) -> str:
        """The address of the NFS server, as clients see it."""
        return self.server if self.nfs is None else self.nfs.address

    @property
    def nfs_path(self) -> str | None:
        """What clients call the store's directory; None where it is its path here."""
        return self.path if self.nfs is None else self.nfs.path or self.path

    @property
    def nfs_here(self) -> bool:
        """Whether this server is the NFS server."""
        return self.nfs_server == self.server

    @property
    def web_address(self) -> tuple[str, int] | None:
        """Address and port of the web server that serves the store's boot/; None where there is none."""
        if self.http is not None:
            return self.http.address or self.server, self.http.port
        return None if self.http_port is None else (self.server, self.http_port)

    @property
    def web_port_here(self) -> int | None:
        """The port of this server's own web server; None where it has none."""
        address, port = self.web_address or (None, None)
        return port if address == self.server else None

    @property
    def web_server(self) -> str | None:
        """The web server that serves the store's boot/, as addresses name it; None where there is none."""
        if self.web_address is None:
            return None
        address, port = self.web_address
        return address if port == 80 else f"{address}:{port}"

    @property
    def gives_addresses(self) -> bool:
        """Whether the site says which addresses clients get; else another server's DHCP does."""
        return any(one.dhcp is not None for one in self.client_networks) or bool(self.known)

    @property
    def known(self) -> tuple[SiteClient, ...]:
        """The clients that have an address of their own."""
        return tuple(client for client in self.clients if client.address is not None)

    @property
    def has_local_disk(self) -> bool:
        """Whether menus have an entry for the local disk."""
        chosen = [*(client.entry for client in self.clients), *(group.entry for group in self.groups)]
        return self.local_disk or self.unknown is Unknown.LOCAL_DISK or LOCAL_DISK in chosen

    @property
    def own_settings(self) -> tuple[BootSettings, ...]:
        """Of every client and group that needs a menu of its own."""
        groups = {group.name: group for group in self.groups}
        clients = (client_settings(one, groups.get(one.group or "")) for one in self.clients)
        by_prefix = (group_settings(one) for one in self.groups if one.mac_prefixes)
        known = self.unknown is not Unknown.BOOT
        return tuple(one for one in (*clients, *by_prefix) if known or not one.is_plain)
