"""What every boot loader can do: the contract between a store's menus, the servers' texts and a loader."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from builder.model.menu import Menu, MenuEntry
from builder.model.recipe import DistributionName, LoaderName


class ClientArchitecture(enum.IntEnum):
    """What a client's firmware says that it is, DHCP option 93.

    Source: RFC 4578, 2.1, and IANA's registry of processor architecture types.
    """

    X86_BIOS = 0
    IA32_UEFI = 6
    X64_UEFI = 7
    ARM64_UEFI = 11


@dataclass(frozen=True)
class BootFile:
    """What firmware of one architecture fetches over TFTP, below the TFTP root.

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
    packages: of each distribution that has it: package -> name in the bundle -> path in the package
    one_build: whether its packages must be of one version, since their files match each other
    boot_files: what firmware asks for, by its architecture
    cmdline_bytes: the longest kernel command line that it hands over whole
    menu_seconds: the longest time that its menu can wait
    """

    name: LoaderName
    directory: str
    files: tuple[str, ...]
    packages: Mapping[DistributionName, Mapping[str, Mapping[str, str]]]
    one_build: bool
    boot_files: Mapping[ClientArchitecture, BootFile]
    cmdline_bytes: int
    menu_seconds: int

    def menu_file(self, client: str | None) -> str:
        """The name in `directory` of the menu for a MAC address; with None of the one for every other client."""
        ...

    def render(self, menu: Menu) -> str:
        """A menu as the loader reads it."""
        ...

    def parse(self, text: str) -> tuple[MenuEntry, ...]:
        """The entries of a menu, ours or edited by hand; what it does not understand it passes over."""
        ...
