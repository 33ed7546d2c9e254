"""Look-ups in the databases of a build: Arch's `extra` has 15,000 packages."""

from __future__ import annotations

from collections.abc import Iterator

from builder.installers.pacman.database import Database, DatabaseEntry
from builder.model.artifacts.lock import LockedPackage


class Counted(tuple[DatabaseEntry, ...]):
    """Knows how often it was walked through."""

    passes = 0

    def __iter__(self) -> Iterator[DatabaseEntry]:
        self.passes += 1
        return super().__iter__()

    def __reversed__(self) -> Iterator[DatabaseEntry]:
        self.passes += 1
        return iter(self[::-1])


def entry(repository: str, name: str, *provides: str) -> DatabaseEntry:
    package = LockedPackage(name, "1-1", "any", f"{name}-1-1-any.pkg.tar.zst", 1, "0" * 64, f"{repository}/{name}")
    return DatabaseEntry(repository, package, 0, (), provides, ())


def test_many_look_ups_take_few_passes() -> None:
    entries = Counted(entry("extra", f"package{number}", f"virtual{number}") for number in range(1000))
    database = Database(entries)
    for found in tuple(entries):
        name = found.package.name
        assert database.find("extra", name) is found
        assert database.of(found.package) is found
        assert database.first(name) is found
        assert database.provides(name)
        assert database.provides(name.replace("package", "virtual"))
    assert entries.passes <= 6


def test_the_first_repository_wins() -> None:
    own, core = entry("own", "tool"), entry("core", "tool", "virtual")
    database = Database((own, core))
    assert database.first("tool") is own
    assert database.find("core", "tool") is core
    assert database.of(core.package) is core
    assert database.find("own", "virtual") is None
    assert database.first("virtual") is None
    assert database.provides("virtual")
    assert not database.provides("unknown")
