"""What every distribution can say of itself: the contract between recipes, images, installers and a distribution."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Protocol

from builder.model.artifacts.lock import LockedPackage
from builder.model.entry import TreeEntry
from builder.model.fault import Fault
from builder.model.recipe import Compression, DistributionName, GeneratorName, InitName, NetworkClient, Recipe

# the content of a file of the image; None where there is none
ReadFile = Callable[[str], bytes | None]
# the names in a directory of the image
ListDirectory = Callable[[str], list[str]]


class PackageManager(enum.StrEnum):
    """What installs packages; there is an installer for each."""

    APT = "apt"
    PACMAN = "pacman"


class InstalledPackage(NamedTuple):
    """One package of a package manager's database; source, source_version: what it was built from."""

    name: str
    version: str
    architecture: str
    source: str
    source_version: str


class Distro(Protocol):
    """A distribution, of which recipes have the keys.

    name: what recipes call it; title: what people call it
    manager: what installs its packages; install: the words by which somebody installs some on a running one
    generators, inits, clients: what of these it has; the first of each is the usual one
    filled: lists among the keys of `distribution` that must not be empty
    locale_file: has LANG=
    locale_packages, time_zone_packages: one of them must be listed for another locale or time zone; none: always there
    resolved_package: brings systemd-resolved; None: what brings systemd does, and it only has to be enabled
    resolvconf_package: lets dhcpcd tell systemd-resolved; None: what brings systemd-resolved does
    dhcpcd_package: brings the program dhcpcd, and nothing that starts it
    compressors: the package of each program that compresses an initramfs
    leftovers: directory and pattern of what installing leaves and no image has
    emptied: directories that are empty in every image
    database: what the package manager knows of installed packages
    first_recipe: the text of `diskless init`, with {fields}
    first_keys: what that says of `distribution` besides the name
    """

    name: DistributionName
    title: str
    manager: PackageManager
    install: str
    generators: tuple[GeneratorName, ...]
    inits: tuple[InitName, ...]
    clients: tuple[NetworkClient, ...]
    filled: tuple[str, ...]
    locale_file: str
    locale_packages: tuple[str, ...]
    time_zone_packages: tuple[str, ...]
    resolved_package: str | None
    resolvconf_package: str | None
    dhcpcd_package: str
    compressors: Mapping[Compression, str]
    leftovers: tuple[tuple[str, str], ...]
    emptied: tuple[str, ...]
    database: str
    first_recipe: str
    first_keys: tuple[str, ...]

    def source_entries(self, recipe: Recipe) -> list[TreeEntry]:
        """Where a client gets packages from."""
        ...

    def firmware(self, recipe: Recipe) -> str:
        """A sentence: where a recipe gets the firmware of network cards from."""
        ...

    def complete(self, recipe: Recipe, entries: list[TreeEntry], read: ReadFile) -> list[TreeEntry]:
        """The same entries, with what they keep of the files that packages brought."""
        ...

    def package_files(self, names: ListDirectory, read: ReadFile) -> Iterator[tuple[str, list[str]]]:
        """Each installed package with the paths that it brought, by `database`."""
        ...

    def installed(self, names: ListDirectory, read: ReadFile) -> Iterator[InstalledPackage]:
        """Each package that is installed, by the manager's own database."""
        ...

    def source_of(self, package: LockedPackage) -> tuple[str, str]:
        """The name and version of what a package was built from, by its mirror's entry for it."""
        ...

    def contradictions(self, recipe: Recipe) -> Iterator[Fault]:
        """What cannot work of `distribution`, besides what `generators`, `inits` and the others say."""
        ...
