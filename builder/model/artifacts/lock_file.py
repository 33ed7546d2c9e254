"""RECIPE.lock: a lock as it is written down beside its recipe, so that the same can be built when mirrors moved on."""

from __future__ import annotations

import dataclasses
import enum
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import assert_never

from builder.model.artifacts.lock import Lock, LockedPackage, Origin
from builder.model.recipe import ArchDistribution, DebianDistribution, DistributionName, Recipe
from builder.model.text.digest import is_sha256
from builder.model.typed import parse_json, schema_of, typed

LOCK_SCHEMA = 1
LOCK_SUFFIX = ".lock"
_FILENAME = re.compile(r"[A-Za-z0-9_][^/\s\x00-\x1f\x7f]*")  # no way out of a directory, and no option of a program
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_SIZES = range(1, 2**40)
_TIMES = range(2**34)  # what a file's time can be


class Lasting(enum.StrEnum):
    """How long all packages of a lock can be had."""

    SNAPSHOT = "snapshot"
    KEPT = "kept"
    NOT = "as long as mirrors have them"


@dataclass(frozen=True)
class PackageLine:
    """A LockedPackage with its Origin; `record` in lines."""

    name: str
    version: str
    architecture: str
    filename: str
    size: int
    sha256: str
    record: tuple[str, ...]
    urls: tuple[str, ...]
    repository: str = ""
    signed: bool = False

    def package(self) -> LockedPackage:
        """What is to be installed."""
        return LockedPackage(
            self.name, self.version, self.architecture, self.filename, self.size, self.sha256, "\n".join(self.record)
        )


@dataclass(frozen=True)
class LockFile:
    """What a lock file holds.

    asked: what the recipe asks for, which this is the answer to
    epoch: seconds, the SOURCE_DATE_EPOCH of every build
    lasts: where the packages will be when mirrors have dropped them
    tools: versions of what decides the bytes besides the packages
    packages, loaders, recommended, lent: as of a Lock
    """

    image: str
    distribution: DistributionName
    release: str
    asked: dict[str, tuple[str, ...]]
    epoch: int
    lasts: Lasting
    tools: dict[str, str]
    packages: tuple[PackageLine, ...]
    loaders: tuple[PackageLine, ...]
    recommended: tuple[str, ...] = ()
    lent: tuple[PackageLine, ...] = ()
    schema: int = LOCK_SCHEMA

    @property
    def lock(self) -> Lock:
        """The lock itself."""
        lines = (*self.packages, *self.loaders, *self.lent)
        return Lock(
            tuple(line.package() for line in self.packages),
            tuple(line.package() for line in self.loaders),
            {line.filename: Origin(line.urls, line.repository, line.signed) for line in lines},
            self.recommended,
            tuple(line.package() for line in self.lent),
        )

    def to_json(self) -> str:
        """The bytes of the file: keys sorted, one line break at the end."""
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> LockFile:
        """Reads a lock file; ValueError when it is not one of ours."""
        document = parse_json(text)
        schema_of(document, LOCK_SCHEMA)
        file = typed(document, cls)
        for line in (*file.packages, *file.loaders, *file.lent):
            _check(line)
        if file.epoch not in _TIMES:
            raise ValueError(f"an epoch of {file.epoch!r:.40} seconds")
        names: dict[str, str] = {}
        for line in (*file.packages, *file.loaders, *file.lent):
            if names.setdefault(line.filename, line.sha256) != line.sha256:
                raise ValueError(f"two files are called {line.filename}")
        return file


def lines_of(packages: tuple[LockedPackage, ...], origins: Mapping[str, Origin]) -> tuple[PackageLine, ...]:
    """Packages as a lock file has them."""
    found = []
    for one in packages:
        origin = origins.get(one.filename, Origin())
        values = {**vars(one), "record": tuple(one.record.split("\n")), **vars(origin)}
        found.append(PackageLine(**values))
    return tuple(found)


def asked_of(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """What of a recipe decides which packages are taken; not where they lie, nor whose signature they have."""
    loaders = ("any",) if recipe.boot.loaders is None else recipe.boot.loaders
    return {
        "packages": recipe.packages,
        "loaders": tuple(map(str, loaders)),
        "architecture": (str(recipe.distribution.architecture),),
        "snapshot": _given(recipe.distribution.snapshot),
        "package_files": tuple(path.rpartition("/")[2] for path in recipe.distribution.package_files),
        **dict(_asked_of_distribution(recipe)),
    }


def differences(asked: Mapping[str, tuple[str, ...]], locked: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Where the two differ, in words: `packages: +vim -nano`."""
    found = []
    for name in sorted(asked.keys() | locked.keys()):
        new, old = asked.get(name, ()), locked.get(name, ())
        if new != old:
            words = [*(f"+{one}" for one in new if one not in old), *(f"-{one}" for one in old if one not in new)]
            found.append(f"{name}: {' '.join(words) or 'in another order'}")
    return found


def _asked_of_distribution(recipe: Recipe) -> Iterator[tuple[str, tuple[str, ...]]]:
    match recipe.distribution:
        case DebianDistribution() as debian:
            yield "suite", _given(debian.suite)
            yield "components", debian.components
            yield "updates", ("yes" if debian.updates else "no",)
            yield "recommends", ("yes" if debian.recommends else "no",)
            repositories = debian.repositories
            yield "repositories", tuple(" ".join((one.url, one.suite, *one.components)) for one in repositories)
        case ArchDistribution() as arch:
            yield "repositories", tuple(one.name for one in arch.repositories)
            yield "ignore", arch.ignore
            yield "assume_installed", arch.assume_installed
        case other:
            assert_never(other)


def _given(value: str | None) -> tuple[str, ...]:
    return () if value is None else (value,)


def _check(line: PackageLine) -> None:
    """ValueError for what would lead elsewhere, or mean something else, where it is used as a name."""
    if not _FILENAME.fullmatch(line.filename):
        raise ValueError(f"{line.filename!r:.80} is not the name of a package file")
    if not is_sha256(line.sha256):
        raise ValueError(f"{line.filename}: {line.sha256!r:.80} is not a SHA-256 digest")
    if line.size not in _SIZES:
        raise ValueError(f"{line.filename}: a size of {line.size!r:.40}")
    for text in (line.name, line.version, line.architecture, line.repository, *line.urls, *line.record):
        if _CONTROL.search(text):
            raise ValueError(f"{line.filename}: control characters in {text!r:.60}")
    for name in (line.name, line.version, line.architecture):
        if not name or name.startswith("-") or "/" in name or " " in name:
            raise ValueError(f"{line.filename}: {name!r:.60} is not a package's name, version or architecture")
