"""Arch Linux: pacman.conf(5), the layout of pacman's local database, the repositories' names."""

from __future__ import annotations

import collections
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from builder.distributions import pacman
from builder.distributions.base import InstalledPackage, ListDirectory, PackageManager, ReadFile
from builder.distributions.keyring import keyring_contradictions
from builder.model.artifacts.lock import LockedPackage
from builder.model.entry import TreeEntry, TreeFile
from builder.model.fault import Fault, Place
from builder.model.recipe import (
    ArchDistribution,
    Architecture,
    Compression,
    DistributionName,
    GeneratorName,
    InitName,
    NetworkClient,
    Recipe,
    Repository,
    Signatures,
)

_OFFICIAL = ("core", "extra", "multilib", "community", "core-testing", "extra-testing", "multilib-testing", "testing")
_DESC = re.compile(r"^%(NAME|VERSION|ARCH|BASE)%\n(.*)$", re.M)
_DATABASE = "/var/lib/pacman/local"
_VERSION_AND_RELEASE = re.compile(r"-[^-]+-[^-]+$")
_FIRST_RECIPE = """\
# yaml-language-server: $schema=recipe.schema.json
# {image}: an Arch Linux image for machines without disks, written by `diskless init`.
#
#   diskless check {image}.yml       what is wrong, if anything; --show prints every file that it writes
#   diskless build {image}.yml       makes output/{image}/VERSION
#   diskless boot {image}.yml        boots it in a virtual machine, over a network of its own
#
# Every key is in docs/recipe.md; editors read them from recipe.schema.json beside this file (`diskless schema`).
schema: 1
image: {image}

# a day of the Arch Linux Archive instead of mirrors gives the same packages next year: snapshot: 2026-11-01
distribution: {distribution}

packages:
  - base
  - linux
  - mkinitcpio
  - mkinitcpio-nfs-utils    # its ipconfig asks for the address
  - nfs-utils
  - openssh
  - nano
  # what the machines are for: add it here

system:
  hostname: diskless        # clients usually get their own from DHCP
  services: [sshd, systemd-resolved]
  masked: [systemd-network-generator.service]   # ip= is for the initramfs only
{users}

# The address that the machine booted with carries its root: the unit that is written keeps it.
network: {{client: systemd-networkd}}

initramfs: {{generator: mkinitcpio, hooks: [base, udev, modconf, {hook}]}}
{root}
boot: {{cmdline: ["{ip}"]}}
"""


class Arch:
    """Arch Linux, Arch Linux 32 and derivatives."""

    name: DistributionName = DistributionName.ARCH
    title: str = "Arch Linux"
    manager: PackageManager = PackageManager.PACMAN
    install: str = "pacman -S"
    generators: tuple[GeneratorName, ...] = (GeneratorName.MKINITCPIO,)
    inits: tuple[InitName, ...] = (InitName.SYSTEMD, InitName.INITSCRIPTS)
    clients: tuple[NetworkClient, ...] = tuple(name for name in NetworkClient if name is not NetworkClient.IFUPDOWN)
    filled: tuple[str, ...] = ()
    locale_file: str = "/etc/locale.conf"
    locale_packages: tuple[str, ...] = ()  # glibc brings locale-gen and the time zone files
    time_zone_packages: tuple[str, ...] = ()
    resolved_package: str | None = None
    resolvconf_package: str | None = "systemd-resolvconf"
    dhcpcd_package: str = "dhcpcd"
    compressors: Mapping[Compression, str] = {
        Compression.GZIP: "gzip",
        Compression.ZSTD: "zstd",
        Compression.LZ4: "lz4",
        Compression.XZ: "xz",
    }
    leftovers: tuple[tuple[str, str], ...] = (
        ("/etc", "*.pacnew"),
        ("/etc", "*.pacsave"),
        ("/etc/pacman.d", "gnupg"),  # with its secret key anybody could sign packages for every client
        ("/var/lib/pacman", "sync"),
        ("/var/lib/pacman", "db.lck"),
    )
    emptied: tuple[str, ...] = ("/var/cache/pacman/pkg",)
    database: str = _DATABASE
    first_recipe: str = _FIRST_RECIPE
    first_keys: tuple[str, ...] = ("mirrorlist",)

    def source_entries(self, recipe: Recipe) -> list[TreeEntry]:
        """The mirror list, and pacman.conf where it is not the shipped."""
        return pacman.pacman_entries(_keys(recipe))

    def firmware(self, recipe: Recipe) -> str:
        """One package, or several of its parts."""
        return "linux-firmware has it: add it to packages"

    def complete(self, recipe: Recipe, entries: list[TreeEntry], read: ReadFile) -> list[TreeEntry]:
        """A pacman.conf of ours keeps the options of the distribution's."""
        shipped = read(pacman.IMAGE_CONFIG)
        if shipped is None:
            return entries
        generated = self.source_entries(recipe)
        return [_completed(entry, shipped) if entry in generated else entry for entry in entries]

    def package_files(self, names: ListDirectory, read: ReadFile) -> Iterator[tuple[str, list[str]]]:
        """The section %FILES% of PACKAGE-VERSION-RELEASE/files; directories in it end in a slash."""
        for name in names(_DATABASE):
            lines = (read(f"{_DATABASE}/{name}/files") or b"").decode("utf-8", "replace").split("\n")
            start = lines.index("%FILES%") + 1 if "%FILES%" in lines else len(lines)
            end = lines.index("", start) if "" in lines[start:] else len(lines)
            yield _VERSION_AND_RELEASE.sub("", name), lines[start:end]

    def installed(self, names: ListDirectory, read: ReadFile) -> Iterator[InstalledPackage]:
        """The fields of PACKAGE-VERSION-RELEASE/desc."""
        for directory in names(_DATABASE):
            text = (read(f"{_DATABASE}/{directory}/desc") or b"").decode("utf-8", "replace")
            fields = dict(_DESC.findall(text))
            if "NAME" in fields:
                name, version = fields["NAME"], fields["VERSION"]
                yield InstalledPackage(name, version, fields["ARCH"], fields.get("BASE") or name, version)

    def source_of(self, package: LockedPackage) -> tuple[str, str]:
        """By the field BASE of its desc."""
        return dict(_DESC.findall(package.record)).get("BASE") or package.name, package.version

    def contradictions(self, recipe: Recipe) -> Iterator[Fault]:
        """Mirrors, trust, and what is selected twice."""
        distribution = _keys(recipe)
        yield from _mirrors(distribution)
        yield from _repositories(distribution)
        yield from _trust(distribution)
        yield from _selection(recipe, distribution)


def _keys(recipe: Recipe) -> ArchDistribution:
    assert isinstance(recipe.distribution, ArchDistribution)
    return recipe.distribution


def _completed(entry: TreeEntry, shipped: bytes) -> TreeEntry:
    if isinstance(entry, TreeFile) and entry.path == pacman.IMAGE_CONFIG:
        return replace(entry, content=pacman.keep_options(entry.content, shipped))
    return entry


def _mirrors(distribution: ArchDistribution) -> Iterator[Fault]:
    given = {"mirrors": distribution.mirrors, "mirrorlist": distribution.mirrorlist, "snapshot": distribution.snapshot}
    names = [name for name, value in given.items() if value]
    if len(names) > 1:
        yield Fault(
            ("distribution", names[-1]),
            f"{' and '.join(names)} all say where the packages are",
            "keep one of them",
        )
    if distribution.snapshot and distribution.architecture is Architecture.I686:
        yield Fault(
            ("distribution", "snapshot"),
            "the Arch Linux Archive has no packages for i686",
            "give the URL of a dated mirror of Arch Linux 32 as mirrors",
        )


def _repositories(distribution: ArchDistribution) -> Iterator[Fault]:
    if not distribution.repositories:
        yield Fault(("distribution", "repositories"), "'repositories' is empty", "list at least one, or leave it out")
    for position, repository in enumerate(distribution.repositories):
        place: Place = ("distribution", "repositories", position, "name")
        if repository.name in [other.name for other in distribution.repositories[:position]]:
            yield Fault(place, f"repository '{repository.name}' is listed twice", "keep one of the two")
        own = repository.mirrors or distribution.mirrors or distribution.mirrorlist
        if not own and repository.name not in _OFFICIAL:
            yield Fault(
                place,
                f"the mirrors of Arch Linux have no repository '{repository.name}'",
                "give it mirrors: [URL] of its own",
            )


def _trust(distribution: ArchDistribution) -> Iterator[Fault]:
    keyring = distribution.keyring
    yield from keyring_contradictions(keyring, keyring.path)
    if keyring.newest and all(_signatures(distribution, it) is Signatures.NEVER for it in distribution.repositories):
        yield Fault(
            ("distribution", "keyring", "newest"),
            "no repository has to be signed, so no keyring is used",
            "remove it, or signatures: never",
        )
    for position, repository in enumerate(distribution.repositories):
        if _signatures(distribution, repository) is Signatures.NEVER:
            urls = repository.mirrors or distribution.mirrors
            if not urls or not all(url.startswith("file://") for url in urls):
                yield Fault(
                    ("distribution", "repositories", position, "signatures")
                    if repository.signatures
                    else ("distribution", "signatures"),
                    f"signatures: never is for local repositories only, and '{repository.name}' is none",
                    "use a file:// mirror, or sign the repository and name the key as keyring",
                )


def _signatures(distribution: ArchDistribution, repository: Repository) -> Signatures:
    return repository.signatures or distribution.signatures


def _selection(recipe: Recipe, distribution: ArchDistribution) -> Iterator[Fault]:
    for position, request in enumerate(recipe.packages):
        if request != recipe.package_names[position]:
            yield Fault(
                ("packages", position),
                f"'{request}' asks for a suite or a version, and pacman's repositories have one version of a package",
                "write the name alone; distribution.snapshot takes a whole day, package_files a file of yours",
            )
    for position, name in enumerate(distribution.ignore):
        if name in recipe.packages:
            yield Fault(
                ("distribution", "ignore", position), f"'{name}' is ignored and also in packages", "keep one of the two"
            )
    for name in ("ignore", "assume_installed", "package_files", "mirrors"):
        values: tuple[str, ...] = getattr(distribution, name)
        for value, count in collections.Counter(values).items():
            if count > 1:
                position = len(values) - 1 - values[::-1].index(value)
                place: Place = ("distribution", name, position)
                yield Fault(place, f"'{value}' is listed {count} times", "keep one of them")
    if not 1 <= distribution.parallel_downloads <= 32:
        yield Fault(
            ("distribution", "parallel_downloads"),
            f"{distribution.parallel_downloads} downloads at once make no sense",
            "write a number from 1 to 32",
        )
