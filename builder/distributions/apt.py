"""apt's configuration and sources, pure text: for the build host's resolver and for the image."""

from __future__ import annotations

from collections.abc import Sequence

from builder.model.artifacts.lock import LockedPackage
from builder.model.recipe import Architecture, DebianDistribution, DebianRepository, DistributionName, Signatures

SNAPSHOT_ARCHIVE = "http://snapshot.debian.org/archive"
_USUAL = DebianDistribution(name=DistributionName.DEBIAN)
ARCHITECTURES = {Architecture.X86_64: "amd64"}


def sources(distribution: DebianDistribution, mirror: str, security: str | None, options: Sequence[str] = ()) -> str:
    """sources.list(5) of a distribution; `options` go into the brackets of every line.

    A snapshot's index has a date of its day, on which apt would refuse it today: its Valid-Until is not looked at.
    """
    suite, parts = distribution.suite, " ".join(distribution.components)
    bracket = _bracket([*options, *(["check-valid-until=no"] if distribution.snapshot else [])])
    lines = [f"deb {bracket}{mirror} {suite} {parts}"]
    if distribution.updates:
        lines.append(f"deb {bracket}{mirror} {suite}-updates {parts}")
    if security is not None:
        lines.append(f"deb {bracket}{security} {suite}-security {parts}")
    return "\n".join(lines) + "\n"


def repository_line(repository: DebianRepository, url: str, keyring: str | None) -> str:
    """The line of a further repository: only its own key signs it; without one it is local and taken as it is."""
    option = "trusted=yes" if repository.signatures is Signatures.NEVER else f"signed-by={keyring}"
    return f"deb [{option}] {url} {' '.join([repository.suite, *repository.components])}\n"


def _bracket(options: Sequence[str]) -> str:
    return f"[{' '.join(options)}] " if options else ""


def archive_urls(distribution: DebianDistribution) -> tuple[str, ...]:
    """The mirrors, at the snapshot's moment if there is one."""
    return _at_snapshot(distribution, distribution.mirrors, _USUAL.mirrors, "debian")


def security_urls(distribution: DebianDistribution) -> tuple[str, ...]:
    """The mirrors of security updates, likewise."""
    return _at_snapshot(distribution, distribution.security_mirrors, _USUAL.security_mirrors, "debian-security")


def _at_snapshot(
    distribution: DebianDistribution, urls: tuple[str, ...], usual: tuple[str, ...], name: str
) -> tuple[str, ...]:
    if distribution.snapshot is None:
        return urls
    stamp = distribution.snapshot.replace("-", "") + "T000000Z"
    bases = (f"{SNAPSHOT_ARCHIVE}/{name}",) if urls == usual else urls
    return tuple(f"{base.rstrip('/')}/{stamp}/" for base in bases)


def image_sources(distribution: DebianDistribution) -> str:
    """sources.list of the image: the first mirror of each kind, so that a client can install packages."""
    security = security_urls(distribution)
    return sources(distribution, archive_urls(distribution)[0], security[0] if security else None)


def resolver_config(distribution: DebianDistribution, state: str, archives: str, host: Sequence[str]) -> str:
    """apt.conf(5) of the resolver: nothing of the host's configuration but the given lines (proxies)."""
    architecture = ARCHITECTURES[distribution.architecture]
    return "\n".join(
        [
            f'Dir::State "{state}/state";',
            f'Dir::State::lists "{state}/lists";',
            f'Dir::State::status "{state}/status";',
            f'Dir::Cache "{state}/cache";',
            f'Dir::Cache::archives "{archives}";',
            f'Dir::Etc::sourcelist "{state}/sources.list";',
            'Dir::Etc::main "/dev/null";',
            'Dir::Etc::parts "/dev/null";',
            'Dir::Etc::sourceparts "/dev/null";',
            'Dir::Etc::preferences "/dev/null";',
            'Dir::Etc::preferencesparts "/dev/null";',
            'Dir::Etc::trusted "/dev/null";',
            'Dir::Etc::trustedparts "/dev/null";',
            'Dir::Log "/dev/null";',
            f'APT::Architecture "{architecture}";',
            f'APT::Architectures {{ "{architecture}"; }};',
            'APT::Install-Recommends "false";',
            'APT::Sandbox::User "root";',  # the state lies in directories that _apt cannot reach
            'APT::Get::Assume-Yes "true";',
            'Acquire::Languages "none";',
            'Acquire::Retries "3";',
            'Acquire::http::Timeout "30";',
            'Acquire::https::Timeout "30";',
            'Binary::apt-get::quiet "1";',
            *host,
            "",
        ]
    )


def packages_index(packages: Sequence[LockedPackage]) -> str:
    """The Packages file of a flat repository that holds exactly these files."""
    stanzas = []
    for package in packages:
        kept = [
            line for line in _folded(package.record) if not line.startswith(("Filename:", "Size:", "MD5sum:", "SHA"))
        ]
        stanzas.append(
            "\n".join([*kept, f"Filename: ./{package.filename}", f"Size: {package.size}", f"SHA256: {package.sha256}"])
        )
    return "\n\n".join(stanzas) + "\n"


def _folded(record: str) -> list[str]:
    """The fields of a control stanza, each with its continuation lines."""
    fields: list[str] = []
    for line in record.splitlines():
        if line[:1] in (" ", "\t") and fields:
            fields[-1] += "\n" + line
        else:
            fields.append(line)
    return fields
