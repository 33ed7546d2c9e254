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
class BootFiles:
    """What each client is told.

    firmware: by architecture, the path below the TFTP root or, for HTTP boot, the URL; BIOS first
    script: what a client gets that runs iPXE; None where it gets what its firmware would
    """

    firmware: Mapping[ClientArchitecture, str]
    script: str | None = None

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
    if not _serves(ipxe, site, store):
        return BootFiles(firmware)
    return BootFiles(firmware, f"http://{site.web_server}/{script}" if over_http else script)


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
