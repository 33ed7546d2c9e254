"""Reading a repository's database: a tar archive with one `desc` file a package, as repo-add(8) writes it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import libarchive

from builder.errors import AuditError
from builder.model.artifacts.lock import LockedPackage


@dataclass(frozen=True)
class DatabaseEntry:
    """One package of a repository. `provides` and `depends` are without versions."""

    repository: str
    package: LockedPackage
    built: int
    groups: tuple[str, ...]
    provides: tuple[str, ...]
    depends: tuple[str, ...]


@dataclass(frozen=True)
class Database:
    """All repositories of a build, in the order in which pacman searches them; each look-up is one of a dictionary."""

    entries: tuple[DatabaseEntry, ...]

    def find(self, repository: str, name: str) -> DatabaseEntry | None:
        """A package of a repository."""
        return self._by_place.get((repository, name))

    def of(self, package: LockedPackage) -> DatabaseEntry:
        """The entry of a package that was resolved from here."""
        return self._by_package[package]

    def first(self, name: str) -> DatabaseEntry | None:
        """The package of that very name that pacman would take."""
        return self._by_name.get(name)

    def provides(self, name: str) -> bool:
        """Whether a package has or provides the name."""
        return name in self._provided

    @functools.cached_property
    def _by_place(self) -> dict[tuple[str, str], DatabaseEntry]:
        return {(entry.repository, entry.package.name): entry for entry in reversed(self.entries)}

    @functools.cached_property
    def _by_package(self) -> dict[LockedPackage, DatabaseEntry]:
        return {entry.package: entry for entry in reversed(self.entries)}

    @functools.cached_property
    def _by_name(self) -> dict[str, DatabaseEntry]:
        return {entry.package.name: entry for entry in reversed(self.entries)}

    @functools.cached_property
    def _provided(self) -> frozenset[str]:
        return frozenset(name for entry in self.entries for name in (entry.package.name, *entry.provides))

    def group(self, name: str) -> list[str]:
        """The members of a group, sorted; none where there is no such group."""
        return sorted({entry.package.name for entry in self.entries if name in entry.groups})

    def names(self) -> list[str]:
        """Everything that a recipe can name: packages, and groups."""
        groups = {group for entry in self.entries for group in entry.groups}
        return sorted({entry.package.name for entry in self.entries} | groups)


def read_databases(directory: Path, repositories: tuple[str, ...]) -> Database:
    """The databases `NAME.db` of a `sync` directory; AuditError when one is not a database."""
    return Database(tuple(entry for name in repositories for entry in _read(directory / f"{name}.db", name)))


def fields(text: str) -> dict[str, list[str]]:
    """The fields of a desc file: `%NAME%` and the lines until the next empty one."""
    found: dict[str, list[str]] = {}
    for block in text.split("\n\n"):
        head, *values = block.strip().split("\n")
        found[head.strip("%")] = values
    return found


def _read(path: Path, repository: str) -> Iterator[DatabaseEntry]:
    try:
        with libarchive.file_reader(str(path)) as archive:
            for member in archive:
                if member.isfile and member.pathname.endswith("/desc"):
                    yield _entry(b"".join(member.get_blocks()).decode("utf-8", "replace"), repository)
    except (libarchive.ArchiveError, KeyError, ValueError, IndexError) as error:
        raise AuditError(
            f"the database of repository {repository} cannot be read: {error!r}",
            "the mirror serves something else there, or half of it: try another mirror",
        ) from error


def _entry(text: str, repository: str) -> DatabaseEntry:
    found = fields(text)
    filename = found["FILENAME"][0]
    if "/" in filename:
        raise ValueError(f"file name {filename!r}")
    package = LockedPackage(
        found["NAME"][0],
        found["VERSION"][0],
        found["ARCH"][0],
        filename,
        int(found["CSIZE"][0]),
        found["SHA256SUM"][0],
        text,
    )
    return DatabaseEntry(
        repository,
        package,
        int(found["BUILDDATE"][0]),
        tuple(found.get("GROUPS", ())),
        tuple(_bare(name) for name in found.get("PROVIDES", ())),
        tuple(_bare(name) for name in found.get("DEPENDS", ())),
    )


def _bare(relation: str) -> str:
    """`glibc>=2.38` -> `glibc`."""
    for sign in "<>=":
        relation = relation.partition(sign)[0]
    return relation
