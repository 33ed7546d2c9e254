"""What every boot loader can do: the contract between a store's menus, the servers' texts and a loader."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from builder.model.menu import Menu, MenuEntry
from builder.model.recipe import Architecture, DistributionName, LoaderName

# of one distribution and architecture: package -> name in the bundle -> path in the package
LoaderPackages = Mapping[str, Mapping[str, str]]


NO_GROUPS: Mapping[str, str] = MappingProxyType({})
# the file of a group's menu, but for what each loader appends
GROUP_FILE = "group-{}"


class ClientArchitecture(enum.IntEnum):
    """What a client's firmware says that it is, DHCP option 93.

    Source: RFC 4578, 2.1, its erratum 4625 (x64 UEFI is 7, and old firmware says 9), and IANA's registry of processor
    architecture types.
    """

    X86_BIOS = 0
    IA32_UEFI = 6
    X64_UEFI = 7
    X64_UEFI_OLD = 9
    ARM64_UEFI = 11
    X64_UEFI_HTTP = 16
    ARM64_UEFI_HTTP = 19

    @property
    def over_http(self) -> bool:
        """Whether it fetches its loader over HTTP, and wants an URL."""
        return self in (ClientArchitecture.X64_UEFI_HTTP, ClientArchitecture.ARM64_UEFI_HTTP)


@dataclass(frozen=True)
class BootFile:
    """What firmware of one architecture fetches, below the TFTP root.

    tftp: the loader that goes on over TFTP; http: the one that goes on over HTTP, where a web server serves its files
    """

    tftp: str
    http: str

    def choose(self, *, http: bool) -> str:
        """The one that fits the server."""
        return self.http if http else self.tftp


class Loader(Protocol):
    """A boot loader.

    name: what recipes call it
    directory: where its menus lie, below the TFTP root; a link there leads into the active generation
    files: the loader's own files, in the bundle and in the TFTP root
    with_generation: whether they come and go with the generation; else they stay in the TFTP root until they are
        replaced
    beside_proxy: whether it goes on with the server that a DHCP proxy named, and not with who gave the address
    one_build: whether its packages must be of one version, since their files match each other
    boot_files: what firmware asks for, by its architecture
    tells_prefixes: whether it sends clients to their group's menu by how their MAC addresses begin, without DHCP
    cmdline_bytes: the longest kernel command line that it hands over whole
    menu_seconds: the longest time that its menu can wait
    """

    name: LoaderName
    directory: str
    files: tuple[str, ...]
    with_generation: bool
    beside_proxy: bool
    one_build: bool
    tells_prefixes: bool
    boot_files: Mapping[ClientArchitecture, BootFile]
    cmdline_bytes: int
    menu_seconds: int

    def packages(self, distribution: DistributionName, architecture: Architecture) -> LoaderPackages:
        """The packages that bring it; none where the distribution does not have it."""
        ...

    def menu_file(self, client: str | None, group: str | None = None) -> str:
        """The name in `directory` of the menu for a MAC address, or for a group; with None of everybody else's."""
        ...

    def render(self, menu: Menu, clients: Sequence[str] = (), groups: Mapping[str, str] = NO_GROUPS) -> str:
        """A menu as the loader reads it.

        clients: the MAC addresses that have one of their own beside it
        groups: the names of groups that have one, by how their clients' MAC addresses begin
        """
        ...

    def parse(self, text: str) -> tuple[MenuEntry, ...]:
        """The entries of a menu, ours or edited by hand; what it does not understand it passes over."""
        ...

    def unfit_word(self, cmdline: str) -> str | None:
        """The first word of a kernel command line that it would hand over changed; None where there is none."""
        ...
