"""Where the packages of an image come from: one dataclass a distribution."""

from __future__ import annotations

from dataclasses import dataclass

from builder.model.recipe.choices import Architecture, DistributionName, Signatures
from builder.model.syntax import (
    AssumedPackage,
    ComponentName,
    DebconfAnswer,
    FilePath,
    Fingerprint,
    HostPath,
    KeyringPath,
    MirrorUrl,
    PackageName,
    RepositoryName,
    RepositorySuite,
    SnapshotDate,
    SuiteName,
    Url,
    key,
    plain_fingerprint,
)

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
    package_files: tuple[HostPath, ...] = key("package files to install besides, from this host", ())
    recommends: bool = key("also install what packages recommend, as apt does by default", False)
    debconf: tuple[DebconfAnswer, ...] = key(
        "answers to questions that packages ask when they are installed, debconf-set-selections(1)", ()
    )

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
