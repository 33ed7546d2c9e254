"""What a recipe takes from this host: Debian's suite and keyrings, Arch's mirrors and package files; one table."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from builder.errors import InputError
from builder.model.fault import Fault, Place
from builder.model.recipe import ArchDistribution, DebianDistribution, Distribution, DistributionName
from builder.model.syntax import MirrorUrl, Syntax
from builder.reading.beside import read_keyrings
from builder.system.files import sha256_of
from builder.system.host import debian_suite, read_mirrorlist


@dataclass(frozen=True)
class FromHost:
    """What a recipe of one distribution takes from this host.

    fill: the distribution's keys with it, given the recipe's directory; faults are added
    inputs: what the recipe's own text does not show of it
    """

    fill: Callable[[Distribution, Path, list[Fault]], Distribution]
    inputs: Callable[[Distribution], list[str]]


def _debian_from_host(distribution: Distribution, directory: Path, faults: list[Fault]) -> DebianDistribution:
    assert isinstance(distribution, DebianDistribution)
    distribution = _with_keyrings(distribution, directory, faults)
    files = _package_files(distribution.package_files, directory, (".deb", "NAME_1.0-1_all.deb"), faults)
    distribution = dataclasses.replace(distribution, package_files=files)
    return distribution if distribution.suite else dataclasses.replace(distribution, suite=_host_suite())


def _with_keyrings(distribution: DebianDistribution, directory: Path, faults: list[Fault]) -> DebianDistribution:
    keyrings = read_keyrings(distribution, directory, faults)
    pairs = zip(distribution.repositories, keyrings, strict=True)
    repositories = tuple(dataclasses.replace(repository, keyring=keyring) for repository, keyring in pairs)
    return dataclasses.replace(distribution, repositories=repositories)


def _host_suite() -> str:
    suite = debian_suite()
    if suite is None:
        raise InputError(
            "the recipe names no distribution.suite, and this host is not a Debian release to take it from",
            "add `suite: bookworm` (or another) to distribution",
        )
    return suite


def _arch_from_host(distribution: Distribution, directory: Path, faults: list[Fault]) -> ArchDistribution:
    assert isinstance(distribution, ArchDistribution)
    files = _package_files(distribution.package_files, directory, (".pkg.tar", "NAME-1.0-1-any.pkg.tar.zst"), faults)
    mirrors = distribution.mirrors
    if distribution.mirrorlist is not None:
        mirrors = _mirrors_of_host(Path(distribution.mirrorlist), faults)
    return dataclasses.replace(distribution, package_files=files, mirrors=mirrors)


def _package_files(
    names: tuple[str, ...], directory: Path, kind: tuple[str, str], faults: list[Fault]
) -> tuple[str, ...]:
    """The absolute paths; `kind`: what a package file has in its name, and an example."""
    files = tuple(str((directory / name).absolute()) for name in names)
    for position, name in enumerate(files):
        place: Place = ("distribution", "package_files", position)
        if not Path(name).is_file():
            faults.append(Fault(place, f"there is no file {name}", "create it, or correct the name"))
        elif kind[0] not in Path(name).name:
            faults.append(Fault(place, f"{name} is not a package file", f"give a file such as {kind[1]}"))
    return files


def _mirrors_of_host(path: Path, faults: list[Fault]) -> tuple[str, ...]:
    place: Place = ("distribution", "mirrorlist")
    try:
        servers = read_mirrorlist(path)
    except OSError as error:
        faults.append(Fault(place, f"{path}: {error.strerror}", "correct the path, or list mirrors: [URL]"))
        return ()
    syntax: Syntax = get_args(MirrorUrl)[1]
    wrong = [server for server in servers if not syntax.accepts(server)]
    if wrong:
        faults.append(
            Fault(place, f"{path} names {wrong[0]!r}, which is not {syntax.one}", f"write it like {syntax.example}")
        )
    if not servers:
        faults.append(Fault(place, f"{path} has no line `Server = URL`", "uncomment a mirror in it"))
    return servers


def _debian_inputs(distribution: Distribution) -> list[str]:
    assert isinstance(distribution, DebianDistribution)
    keyrings = [Path(repository.keyring) for repository in distribution.repositories if repository.keyring]
    return [sha256_of(path) for path in (*keyrings, *map(Path, distribution.package_files))]


def _arch_inputs(distribution: Distribution) -> list[str]:
    assert isinstance(distribution, ArchDistribution)
    files = [f"{Path(name).name} {sha256_of(Path(name))}" for name in distribution.package_files]
    return [*files, *(distribution.mirrors if distribution.mirrorlist else ())]


FROM_HOST: dict[DistributionName, FromHost] = {
    DistributionName.DEBIAN: FromHost(_debian_from_host, _debian_inputs),
    DistributionName.ARCH: FromHost(_arch_from_host, _arch_inputs),
}
