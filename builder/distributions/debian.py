"""Debian: deb(5), sources.list(5), locale.gen(5)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from builder.distributions import apt
from builder.distributions.base import InstalledPackage, ListDirectory, PackageManager, ReadFile
from builder.distributions.keyring import keyring_contradictions
from builder.model.artifacts.lock import LockedPackage
from builder.model.entry import TreeEntry, TreeFile
from builder.model.fault import Fault, Place
from builder.model.recipe import (
    Compression,
    DebianDistribution,
    DebianRepository,
    DistributionName,
    GeneratorName,
    InitName,
    NetworkClient,
    Recipe,
    Signatures,
)

_BEFORE_NON_FREE_FIRMWARE = ("buster", "bullseye", "oldoldstable")
_STATUS = "/var/lib/dpkg/status"
_FIELD = re.compile(r"^(Package|Status|Version|Architecture|Source): (.*)$", re.M)
_DATABASE = "/var/lib/dpkg/info"
_FIRST_RECIPE = """\
# yaml-language-server: $schema=recipe.schema.json
# {image}: a Debian image for machines without disks, written by `diskless init`.
#
#   diskless check {image}.yml       what is wrong, if anything; --show prints every file that it writes
#   diskless build {image}.yml       makes output/{image}/VERSION
#   diskless boot {image}.yml        boots it in a virtual machine, over a network of its own
#
# Every key is in docs/recipe.md; editors read them from recipe.schema.json beside this file (`diskless schema`).
schema: 1
image: {image}

distribution: {distribution}

packages:
  - systemd-sysv            # the init system
  - linux-image-amd64
  - initramfs-tools
  - udev
  - dbus                    # timedatectl, hostnamectl, a clean power-off
  - dhcpcd                  # see network
  - nfs-common
  - openssh-server
  - iproute2
  - iputils-ping
  - procps
  - less
  - nano
  # what the machines are for: add it here

system:
  hostname: diskless        # clients usually get their own from DHCP
  timezone: UTC
  locale: C.UTF-8
  services: [ssh]           # units to enable besides what packages enable themselves
{users}

filesystems:
  - {{source: none, target: /, type: none}}                                        # the root is mounted already
  - {{source: none, target: /dev/pts, type: devpts, options: [gid=5, mode=620]}}   # ssh needs terminals

# The address that the machine booted with carries its root: dhcpcd keeps it, and only asks for further options.
network: {{client: dhcpcd, inform: true}}

initramfs: {{generator: initramfs-tools, drivers: netboot}}
{root}
boot: {{cmdline: ["ip=dhcp"]}}
"""


class Debian:
    """Debian, and what is installed with its apt."""

    name: DistributionName = DistributionName.DEBIAN
    title: str = "Debian"
    manager: PackageManager = PackageManager.APT
    install: str = "apt-get install"
    generators: tuple[GeneratorName, ...] = (GeneratorName.INITRAMFS_TOOLS,)
    inits: tuple[InitName, ...] = (InitName.SYSTEMD,)
    clients: tuple[NetworkClient, ...] = tuple(NetworkClient)
    filled: tuple[str, ...] = ("mirrors", "components")
    locale_file: str = "/etc/default/locale"
    locale_packages: tuple[str, ...] = ("locales", "locales-all")
    time_zone_packages: tuple[str, ...] = ("tzdata",)
    resolved_package: str | None = "systemd-resolved"
    resolvconf_package: str | None = None
    dhcpcd_package: str = "dhcpcd-base"
    compressors: Mapping[Compression, str] = {
        Compression.GZIP: "gzip",
        Compression.ZSTD: "zstd",
        Compression.LZ4: "lz4",
        Compression.XZ: "xz-utils",
    }
    leftovers: tuple[tuple[str, str], ...] = (
        ("/etc/apt/apt.conf.d", "*mmdebstrap*"),
        ("/etc/dpkg/dpkg.cfg.d", "*mmdebstrap*"),
        ("/var/lib/dpkg", "*-old"),
        ("/var/lib/dpkg", "lock*"),
        ("/var/cache/debconf", "*-old"),
        ("/var/cache/apt", "*.bin"),
    )
    emptied: tuple[str, ...] = ("/var/lib/apt/lists", "/var/cache/apt/archives")
    database: str = _DATABASE
    first_recipe: str = _FIRST_RECIPE
    first_keys: tuple[str, ...] = ("suite",)

    def source_entries(self, recipe: Recipe) -> list[TreeEntry]:
        """sources.list."""
        return [TreeFile("/etc/apt/sources.list", apt.image_sources(_keys(recipe)).encode())]

    def firmware(self, recipe: Recipe) -> str:
        """A component of its own since Debian 12."""
        component = "non-free" if _keys(recipe).suite in _BEFORE_NON_FREE_FIRMWARE else "non-free-firmware"
        where = "" if component in _keys(recipe).components else f"distribution.components: [main, {component}], and "
        packages = "firmware-realtek, firmware-bnx2, firmware-bnx2x, firmware-misc-nonfree"
        return f"Debian has it in the component {component}: {where}packages such as {packages}"

    def complete(self, recipe: Recipe, entries: list[TreeEntry], read: ReadFile) -> list[TreeEntry]:
        """Nothing is kept: no package brings a sources.list."""
        return entries

    def package_files(self, names: ListDirectory, read: ReadFile) -> Iterator[tuple[str, list[str]]]:
        """deb(5)'s lists of files, named PACKAGE.list or PACKAGE:ARCHITECTURE.list."""
        for name in names(_DATABASE):
            if name.endswith(".list"):
                lines = (read(f"{_DATABASE}/{name}") or b"").decode("utf-8", "replace").split("\n")
                yield name.removesuffix(".list").partition(":")[0], lines

    def installed(self, names: ListDirectory, read: ReadFile) -> Iterator[InstalledPackage]:
        """The stanzas of dpkg's status, dpkg-query(1), but for packages of which only configuration is left."""
        for stanza in (read(_STATUS) or b"").decode("utf-8", "replace").split("\n\n"):
            fields = dict(_FIELD.findall(stanza))
            if fields.get("Status", "").endswith(" installed"):
                name, version = fields["Package"], fields["Version"]
                source, source_version = _source(fields, name, version)
                yield InstalledPackage(name, version, fields["Architecture"], source, source_version)

    def source_of(self, package: LockedPackage) -> tuple[str, str]:
        """By the field Source of its stanza, deb-control(5)."""
        return _source(dict(_FIELD.findall(package.record)), package.name, package.version)

    def contradictions(self, recipe: Recipe) -> Iterator[Fault]:
        """Keys that nothing is signed with, repositories that nobody trusts, mirrors without a past."""
        distribution = _keys(recipe)
        yield from keyring_contradictions(distribution.keyring, distribution.keyring.path)
        for position, repository in enumerate(distribution.repositories):
            place: Place = ("distribution", "repositories", position)
            if repository in distribution.repositories[:position]:
                yield Fault(place, f"the repository {repository.url} is listed twice", "keep one of the two")
            yield from _trust(repository, place)
            yield from _components(repository, place)
        yield from _foreign(recipe)
        yield from _answers(distribution)
        if distribution.snapshot:
            yield from _snapshot(distribution)


def _source(fields: Mapping[str, str], name: str, version: str) -> tuple[str, str]:
    """`Source: glibc (2.36-9)`; the version is left out where it is the package's, and all of it where the name is."""
    source, _, of = fields.get("Source", name).partition(" ")
    return source, of.strip("()") or version


def _keys(recipe: Recipe) -> DebianDistribution:
    assert isinstance(recipe.distribution, DebianDistribution)
    return recipe.distribution


def _trust(repository: DebianRepository, place: Place) -> Iterator[Fault]:
    never = repository.signatures is Signatures.NEVER
    if never and not repository.url.startswith("file://"):
        yield Fault(
            (*place, "signatures"),
            f"signatures: never is for local repositories only, and {repository.url} is none",
            "use a file:// URL, or sign the repository and name the key as keyring",
        )
    if never and repository.keyring:
        yield Fault((*place, "keyring"), "'keyring' has no use with signatures: never", "remove one of the two")
    if not never and not repository.keyring:
        yield Fault(
            place,
            f"the repository {repository.url} names no keyring, so nothing of it could be trusted",
            "add keyring: PATH of the keys that sign it; for a local file:// repository, signatures: never",
        )


def _components(repository: DebianRepository, place: Place) -> Iterator[Fault]:
    flat = repository.suite.endswith("/")
    if flat and repository.components:
        yield Fault(
            (*place, "suite"),
            f"'{repository.suite}' is a flat repository, which has no components",
            "add components: [], or write the suite's name without / at its end",
        )
    if not flat and not repository.components:
        yield Fault((*place, "components"), "'components' is empty", "list at least one, or leave the key out for main")


def _snapshot(distribution: DebianDistribution) -> Iterator[Fault]:
    for name in ("mirrors", "security_mirrors"):
        for position, url in enumerate(getattr(distribution, name)):
            if url.startswith("file:"):
                yield Fault(
                    ("distribution", name, position),
                    f"{url} has no snapshots",
                    "name a server of snapshot.debian.org's layout, or remove distribution.snapshot",
                )


def _foreign(recipe: Recipe) -> Iterator[Fault]:
    own = (apt.ARCHITECTURES[recipe.distribution.architecture], "all", "any", "native")
    for position, name in enumerate(recipe.package_names):
        _, colon, architecture = name.partition(":")
        if colon and architecture not in own:
            yield Fault(
                ("packages", position),
                f"'{name}' is of another architecture, and an image has packages of its own one ({own[0]}) only",
                "leave it out: packages of a foreign architecture are not supported",
            )


def _answers(distribution: DebianDistribution) -> Iterator[Fault]:
    """Questions that are answered twice; select and multiselect take any text, which only the package knows."""
    seen: set[tuple[str, ...]] = set()
    for position, line in enumerate(distribution.debconf):
        question = tuple(line.split()[:2])
        if question in seen:
            yield Fault(
                ("distribution", "debconf", position), f"{question[1]} is answered twice", "keep one of the answers"
            )
        seen.add(question)
