"""What DHCP sends each kind of client to: the loader that its firmware can start, or iPXE's script.

Sources: RFC 4578 (option 93); UEFI 2.10, 24.7 (HTTP boot: an URL as file name, and option 60 HTTPClient in the answer);
ipxe.org/howto/dhcpd (user class iPXE, option 77).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from builder.loaders.base import ClientArchitecture, Loader
from builder.loaders.ipxe import SCRIPT
from builder.loaders.table import LOADERS
from builder.model.recipe import LoaderName
from builder.model.share import ServedStore
from builder.model.site import Site

HTTP_CLIENT = "HTTPClient"
NEVER_209 = "never 209 besides: with it no client's own file in pxelinux.cfg/ is asked for"
FEW_209 = """\
209 names a group's file to those of its clients that have none of their own in pxelinux.cfg/,
since PXELINUX asks for it first"""
IPXE = "iPXE"
_NAMES = {
    ClientArchitecture.X86_BIOS: "BIOS",
    ClientArchitecture.IA32_UEFI: "UEFI, 32 bits",
    ClientArchitecture.X64_UEFI: "UEFI",
    ClientArchitecture.X64_UEFI_OLD: "UEFI, as some firmware calls itself",
    ClientArchitecture.ARM64_UEFI: "UEFI of 64-bit ARM",
    ClientArchitecture.X64_UEFI_HTTP: "UEFI that boots over HTTP",
    ClientArchitecture.ARM64_UEFI_HTTP: "UEFI of 64-bit ARM that boots over HTTP",
}


@dataclass(frozen=True)
class GroupFiles:
    """What clients of a group are told that is known by how their MAC addresses begin.

    prefixes: of MAC addresses; own: addresses that begin so and have a menu of their own, which comes first
    config: the configuration file of PXELINUX (option 209), None where it is not served
    script: what a client gets that runs iPXE, None where it is not served
    """

    name: str
    prefixes: tuple[str, ...]
    own: tuple[str, ...]
    config: str | None
    script: str | None


@dataclass(frozen=True)
class BootFiles:
    """What each client is told.

    firmware: by architecture, the path below the TFTP root or, for HTTP boot, the URL; BIOS first
    script: what a client gets that runs iPXE; None where it gets what its firmware would
    groups: those of the site that DHCP has to tell by their clients' cards
    """

    firmware: Mapping[ClientArchitecture, str]
    script: str | None = None
    groups: tuple[GroupFiles, ...] = ()

    @property
    def bios(self) -> str | None:
        """For BIOS, and for who says nothing of itself."""
        return self.firmware.get(ClientArchitecture.X86_BIOS)

    @property
    def others(self) -> dict[ClientArchitecture, str]:
        """Those that must be told from BIOS."""
        return {kind: name for kind, name in self.firmware.items() if kind is not ClientArchitecture.X86_BIOS}


def choose_boot_files(site: Site, store: ServedStore, *, by_proxy: bool = False) -> BootFiles:
    """What the loaders that a store has, and that the site wants, make of each client.

    `by_proxy`: a DHCP proxy tells it, whose answer has no room for what PXELINUX must know to go on over HTTP.
    """
    over_http = site.web_server is not None and not by_proxy
    firmware = {}
    for architecture in ClientArchitecture:
        if architecture.over_http and (site.web_server is None or not over_http):
            continue
        name = _first(architecture, site, store, http=over_http, by_proxy=by_proxy)
        if name is not None:
            firmware[architecture] = f"http://{site.web_server}/{name}" if architecture.over_http else name
    ipxe = LOADERS[LoaderName.IPXE]
    script = f"{ipxe.directory}/{SCRIPT}"
    before = f"http://{site.web_server}/" if over_http else ""
    groups = _groups(site, store, before)
    if not _serves(ipxe, site, store):
        return BootFiles(firmware, groups=groups)
    return BootFiles(firmware, f"{before}{script}", groups)


def _groups(site: Site, store: ServedStore, before: str) -> tuple[GroupFiles, ...]:
    """The groups that have prefixes and menus; `before` stands before the names of iPXE's scripts."""
    settings = site.own_settings
    loaders = {name: LOADERS[name] for name in (LoaderName.PXELINUX, LoaderName.IPXE)}
    pxelinux, ipxe = (loader if _serves(loader, site, store) else None for loader in loaders.values())
    found = []
    for one in settings:
        if one.group is None:
            continue
        own = tuple(
            other.client.lower()
            for other in settings
            if other.client is not None and other.client.lower().startswith(tuple(f"{part}:" for part in one.prefixes))
        )
        config = f"{pxelinux.directory}/{pxelinux.menu_file(None, one.group)}" if pxelinux else None
        script = f"{before}{ipxe.directory}/{ipxe.menu_file(None, one.group)}" if ipxe else None
        found.append(GroupFiles(one.group, one.prefixes, own, config, script))
    return tuple(found)


def about_209(files: BootFiles) -> str:
    """What a text says of the option that names one configuration file."""
    return FEW_209 if any(group.config for group in files.groups) else NEVER_209


def asks_dhcp_for_groups(site: Site) -> bool:
    """Whether some wanted loader cannot tell a group by the beginning of its clients' MAC addresses."""
    by_prefix = any(one.group is not None for one in site.own_settings)
    return by_prefix and not all(loader.tells_prefixes for loader in wanted_loaders(site))


def _first(
    architecture: ClientArchitecture, site: Site, store: ServedStore, *, http: bool, by_proxy: bool
) -> str | None:
    for loader in wanted_loaders(site):
        if by_proxy and not loader.beside_proxy:
            continue
        file = loader.boot_files.get(architecture)
        name = file.choose(http=http) if file else None
        if name is None or (architecture.over_http and name in store.tftp_only):
            continue
        if store.loaders is None or name in store.loaders:
            return name
    return None


def _serves(loader: Loader, site: Site, store: ServedStore) -> bool:
    return loader in wanted_loaders(site) and (store.loaders is None or bool(set(loader.files) & set(store.loaders)))


def wanted_loaders(site: Site) -> tuple[Loader, ...]:
    """The loaders that clients of a site get, the first that fits first."""
    return tuple(LOADERS[name] for name in site.loaders or LoaderName)


def describe(architecture: ClientArchitecture) -> str:
    """An architecture, for people."""
    return f"{_NAMES[architecture]} ({architecture:d})"
