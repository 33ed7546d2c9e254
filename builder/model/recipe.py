"""The recipe: one image, described as nouns. Order of the keys = order of building."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from builder.model.account import User
from builder.model.script import Script
from builder.model.syntax import (
    Address,
    AssumedPackage,
    ComponentName,
    DomainName,
    FilePath,
    Fingerprint,
    FstabWord,
    HookName,
    HostName,
    HostPath,
    ImageName,
    InterfaceName,
    KernelArgument,
    KeyringPath,
    LocaleName,
    MemorySize,
    MirrorUrl,
    Mode,
    ModuleName,
    MountOption,
    MountTarget,
    NfsOption,
    Owner,
    PackageName,
    ProgramPath,
    RepositoryName,
    RepositorySuite,
    SnapshotDate,
    SourcePath,
    SuiteName,
    TimeZone,
    UnitName,
    Url,
    key,
    plain_fingerprint,
)


class DistributionName(enum.StrEnum):
    """The distributions that an installer exists for."""

    DEBIAN = "debian"
    ARCH = "arch"


class Architecture(enum.StrEnum):
    """The machines that images are built for, by the kernel's name."""

    X86_64 = "x86_64"
    I686 = "i686"


class NetworkClient(enum.StrEnum):
    """What configures the network after the kernel has done so to mount the root."""

    DHCPCD = "dhcpcd"
    NETWORKD = "systemd-networkd"
    NETWORKMANAGER = "NetworkManager"
    IFUPDOWN = "ifupdown"
    NONE = "none"


class Resolver(enum.StrEnum):
    """Where /etc/resolv.conf comes from."""

    FIXED = "fixed"
    KERNEL = "kernel"
    RESOLVED = "resolved"
    DHCP = "dhcp"


class GeneratorName(enum.StrEnum):
    """What makes the initramfs."""

    INITRAMFS_TOOLS = "initramfs-tools"
    MKINITCPIO = "mkinitcpio"


class Signatures(enum.StrEnum):
    """Whether packages must be signed by a trusted key (SigLevel of pacman.conf(5))."""

    REQUIRED = "required"
    NEVER = "never"


class InitName(enum.StrEnum):
    """What starts the system's services."""

    SYSTEMD = "systemd"
    INITSCRIPTS = "initscripts"


class Drivers(enum.StrEnum):
    """Which network drivers the initramfs carries: what MODULES= of initramfs.conf(5) means by these words."""

    NETBOOT = "netboot"
    LIST = "list"


class Compression(enum.StrEnum):
    """How the initramfs is compressed; the image must have the program."""

    GZIP = "gzip"
    ZSTD = "zstd"
    LZ4 = "lz4"
    XZ = "xz"


class RootMode(enum.StrEnum):
    """How clients use their root."""

    RW = "rw"
    OVERLAY = "overlay"


class NfsVersion(enum.StrEnum):
    """The NFS protocol that the root is mounted with."""

    V3 = "3"
    V4_1 = "4.1"
    V4_2 = "4.2"


class LoaderName(enum.StrEnum):
    """The boot loaders that a bundle can hold."""

    PXELINUX = "pxelinux"


_NEWEST = (
    "take the newest keyring package from the mirror, if the keys of `path` vouch for it: {}. It is called as the file "
    "is: X.gpg is of X-keyring"
)


def keyring_package(path: str) -> str:
    """The package that brings a keyring of this name: archlinux.gpg is of archlinux-keyring."""
    name = path.rpartition("/")[2]
    stem = name.rpartition(".")[0] or name
    return stem if stem.endswith("-keyring") else f"{stem}-keyring"


@dataclass(frozen=True, kw_only=True)
class DebianKeyring:
    """The keys that must have signed the archive. A path alone is `{path: PATH}`."""

    path: KeyringPath = key(
        "a file of keys on the build host", "/usr/share/keyrings/debian-archive-keyring.gpg", short=True
    )
    newest: bool = key(_NEWEST.format("they signed the suite, or one whose package has its key"), False)
    fingerprints: tuple[Fingerprint, ...] = key(
        "`newest` only: signing keys of the archive, or subkeys, that vouch where `path` knows none of the suite's", ()
    )

    @property
    def keys(self) -> tuple[str, ...]:
        """The fingerprints as programs write them."""
        return tuple(map(plain_fingerprint, self.fingerprints))


@dataclass(frozen=True, kw_only=True)
class ArchKeyring:
    """The keys that packages must be signed by. A path alone is `{path: PATH}`."""

    path: FilePath | None = key(
        "NAME.gpg on the build host, with NAME-trusted and NAME-revoked beside it; left out: archlinux-keyring's",
        None,
        short=True,
    )
    newest: bool = key(_NEWEST.format("by the rules of that ring"), False)
    fingerprints: tuple[Fingerprint, ...] = key(
        "`newest` only: further master keys, each trusted as far as one of Arch Linux's", ()
    )

    @property
    def keys(self) -> tuple[str, ...]:
        """The fingerprints as programs write them."""
        return tuple(map(plain_fingerprint, self.fingerprints))


@dataclass(frozen=True, kw_only=True)
class DebianRepository:
    """One repository besides the distribution's own, sources.list(5); clients do not get it."""

    url: Url = key("where it lies: http, https or file")
    suite: RepositorySuite = key("its suite; a flat repository's directory, which ends in /: `./`")
    components: tuple[ComponentName, ...] = key("its parts; [] for a flat repository", ("main",))
    keyring: HostPath | None = key("the keys that sign it, .gpg or .asc, on the build host or beside the recipe", None)
    signatures: Signatures = key("never: for local repositories (file://) only", Signatures.REQUIRED)


@dataclass(frozen=True, kw_only=True)
class DebianDistribution:
    """Where Debian's packages come from."""

    name: DistributionName = key("the distribution: debian or arch", allowed=(DistributionName.DEBIAN,))
    architecture: Architecture = key("the clients' architecture", Architecture.X86_64, allowed=(Architecture.X86_64,))
    suite: SuiteName | None = key("the release to install; left out: this host's", None)
    mirrors: tuple[Url, ...] = key("the archive, and others to try when it is down", ("http://deb.debian.org/debian",))
    security_mirrors: tuple[Url, ...] = key(
        "the archive of security updates; [] where the suite has none (sid, a local mirror)",
        ("http://deb.debian.org/debian-security",),
    )
    snapshot: SnapshotDate | None = key(
        "the archive as it was when this day began, in UTC, from snapshot.debian.org; "
        "`mirrors` are then other servers of its layout, MIRROR/YYYYMMDDT000000Z/",
        None,
    )
    updates: bool = key("also use SUITE-updates", True)
    components: tuple[ComponentName, ...] = key("the parts of the archive", ("main",))
    keyring: DebianKeyring = key("the keys that sign the archive", DebianKeyring)
    repositories: tuple[DebianRepository, ...] = key("further repositories", ())

    @property
    def release(self) -> str:
        """What was installed, for the manifest."""
        return self.suite or ""


@dataclass(frozen=True, kw_only=True)
class Repository:
    """One repository of pacman.conf(5)."""

    name: RepositoryName = key("its name, which is also its database's")
    mirrors: tuple[MirrorUrl, ...] = key("where it lies, if not on the distribution's mirrors", ())
    signatures: Signatures | None = key("if not as distribution.signatures says", None)


@dataclass(frozen=True, kw_only=True)
class ArchDistribution:
    """Where Arch Linux's packages come from; i686 is Arch Linux 32."""

    name: DistributionName = key("the distribution: debian or arch", allowed=(DistributionName.ARCH,))
    architecture: Architecture = key("the clients' architecture", Architecture.X86_64)
    mirrors: tuple[MirrorUrl, ...] = key(
        "servers, tried in this order, with $repo and $arch; left out: the distribution's own", ()
    )
    mirrorlist: FilePath | None = key(
        "a file of `Server =` lines on the build host, such as /etc/pacman.d/mirrorlist, instead of `mirrors`", None
    )
    snapshot: SnapshotDate | None = key("a day of the Arch Linux Archive, instead of `mirrors`", None)
    repositories: tuple[Repository, ...] = key(
        "the repositories, the first wins", (Repository(name="core"), Repository(name="extra"))
    )
    signatures: Signatures = key("never: for local repositories (file://) only", Signatures.REQUIRED)
    keyring: ArchKeyring = key("the keys that packages must be signed by", ArchKeyring)
    package_files: tuple[HostPath, ...] = key("package files to install besides, from this host", ())
    ignore: tuple[PackageName, ...] = key("members of groups that are not wanted", ())
    assume_installed: tuple[AssumedPackage, ...] = key("dependencies to take as fulfilled", ())
    parallel_downloads: int = key("how many packages are fetched at once", 5)

    @property
    def release(self) -> str:
        """What was installed, for the manifest: the snapshot's day, if it is one."""
        return self.snapshot or "rolling"


Distribution = DebianDistribution | ArchDistribution


@dataclass(frozen=True, kw_only=True)
class System:
    """What the machine is called, who can log in and what it runs."""

    hostname: HostName = key("the host name; with DHCP clients usually get their own", "diskless")
    timezone: TimeZone = key("a name of the tz database", "UTC")
    locale: LocaleName = key("the system's LANG", "C.UTF-8")
    users: tuple[User, ...] = key("accounts: who can log in, and how", ())
    init: InitName = key(
        "what starts the services; initscripts: rc.conf, for derivatives that keep it", InitName.SYSTEMD
    )
    services: tuple[UnitName, ...] = key("units to enable; the distribution's defaults stay", ())
    masked: tuple[UnitName, ...] = key("units of the image that must never start", ())


@dataclass(frozen=True, kw_only=True)
class File:
    """One file of the image, from text or from a file beside the recipe."""

    path: FilePath = key("where it lies in the image")
    text: str | None = key("what it holds", None)
    source: SourcePath | None = key("a file beside the recipe, instead of `text`", None)
    mode: Mode = key("its permissions", "0644")
    owner: Owner = key("its user and group, as numbers", "0:0")


@dataclass(frozen=True, kw_only=True)
class Filesystem:
    """One line of the image's /etc/fstab, fstab(5)."""

    source: FstabWord = key("what is mounted, or none")
    target: MountTarget = key("where, or none")
    type: FstabWord = key("the file system type, or none")
    options: tuple[MountOption, ...] | None = key(
        "mount options; left out: `defaults`, and nothing at all for the `none / none` placeholder", None
    )


@dataclass(frozen=True, kw_only=True)
class Network:
    """What the running system does with the interface that carries its root."""

    client: NetworkClient = key(
        "what manages the network, or none; NetworkManager and ifupdown leave the boot interface as the kernel set it"
    )
    inform: bool = key("dhcpcd only: keep the kernel's address and only ask for options (dhcpcd -s)", False)
    interface: InterfaceName | None = key(
        "the interface; eth0 and its like also set net.ifnames=0; left out: any Ethernet", None
    )
    resolver: Resolver | None = key(
        "who fills /etc/resolv.conf. fixed: `nameservers`; kernel: what the boot's own DHCP request learnt; "
        "resolved: systemd-resolved; dhcp: the DHCP client. Left out: fixed with `nameservers`, else resolved with "
        "systemd-networkd, dhcp with dhcpcd, kernel with NetworkManager and ifupdown",
        None,
    )
    nameservers: tuple[Address, ...] = key("a fixed resolv.conf; left out: see `resolver`", ())
    search: tuple[DomainName, ...] = key("search domains of a fixed resolv.conf", ())

    @property
    def resolver_policy(self) -> Resolver:
        """The resolver that is meant where none is written."""
        if self.resolver is not None:
            return self.resolver
        return Resolver.FIXED if self.nameservers else _RESOLVERS[self.client]


_RESOLVERS = {
    NetworkClient.DHCPCD: Resolver.DHCP,
    NetworkClient.NETWORKD: Resolver.RESOLVED,
    NetworkClient.NETWORKMANAGER: Resolver.KERNEL,
    NetworkClient.IFUPDOWN: Resolver.KERNEL,
    NetworkClient.NONE: Resolver.FIXED,
}


@dataclass(frozen=True, kw_only=True)
class InitramfsTools:
    """The initial RAM file system, generated once with this configuration."""

    generator: GeneratorName = key(
        "what makes it: initramfs-tools or mkinitcpio",
        GeneratorName.INITRAMFS_TOOLS,
        allowed=(GeneratorName.INITRAMFS_TOOLS,),
    )
    drivers: Drivers = key("netboot: every network driver; list: only `modules`, small and fast", Drivers.NETBOOT)
    modules: tuple[ModuleName, ...] = key("further kernel modules", ())
    compression: Compression = key("how it is compressed", Compression.GZIP)


@dataclass(frozen=True, kw_only=True)
class Mkinitcpio:
    """The initial RAM file system of mkinitcpio.conf(5), generated once with this configuration."""

    generator: GeneratorName = key("what makes it: initramfs-tools or mkinitcpio", allowed=(GeneratorName.MKINITCPIO,))
    modules: tuple[ModuleName, ...] = key("further kernel modules; those of NFS are always in it", ())
    binaries: tuple[ProgramPath, ...] = key("programs, with the libraries they need", ())
    files: tuple[ProgramPath, ...] = key("files of the image that it also needs", ())
    hooks: tuple[HookName, ...] = key(
        "all hooks in their order; net (rw over NFSv3) or our diskless (any root) mounts the root",
        ("base", "udev", "modconf", "net"),
    )
    autodetect: bool = key("allow the hook autodetect, which knows the build host's hardware only", False)
    compression: Compression = key("how it is compressed", Compression.ZSTD)


Initramfs = InitramfsTools | Mkinitcpio


@dataclass(frozen=True, kw_only=True)
class Nfs:
    """How the root is mounted."""

    version: NfsVersion = key("the protocol version", NfsVersion.V3)
    options: tuple[NfsOption, ...] = key("further mount options, nfs(5)", ())


@dataclass(frozen=True, kw_only=True)
class Root:
    """The root file system as clients see it."""

    mode: RootMode = key(
        "rw: one root that clients write to; overlay: read-only and shared, each client's changes stay in its memory",
        RootMode.RW,
    )
    overlay_size: MemorySize | None = key(
        "overlay only: how much a client may write, of its memory or with k, m, g; left out: 50%", None
    )
    nfs: Nfs = key("the mount", Nfs)


@dataclass(frozen=True, kw_only=True)
class Boot:
    """How clients get from their firmware to the kernel."""

    loaders: tuple[LoaderName, ...] = key("the loaders in the bundle", (LoaderName.PXELINUX,))
    cmdline: tuple[KernelArgument, ...] = key("kernel arguments; root= and nfsroot= are ours", ("ip=dhcp",))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One image."""

    schema: int = key("the version of this format: 1", allowed=(1,))
    image: ImageName = key("the name the image is deployed under")
    distribution: DebianDistribution | ArchDistribution = key("where the packages come from")
    packages: tuple[PackageName, ...] = key("the packages (Arch: also groups) to install, besides the essential ones")
    system: System = key("name, time, language, services", System)
    files: tuple[File, ...] = key("files of your own, written last", ())
    scripts: tuple[Script, ...] = key(
        "programs of your own, run in this order inside the image, without network and after everything is written; "
        "each is the path of a file beside the recipe, or keys",
        (),
    )
    filesystems: tuple[Filesystem, ...] = key("the lines of /etc/fstab", ())
    network: Network = key("who owns the boot interface once the system runs")
    initramfs: InitramfsTools | Mkinitcpio = key("the initial RAM file system", InitramfsTools)
    root: Root = key("how the root is mounted", Root)
    boot: Boot = key("loaders and kernel arguments", Boot)
