"""A lock file is read as it was written, and nothing in one leads elsewhere."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from builder.lock import _lasting
from builder.model.artifacts.lock import Lock, LockedPackage, Origin
from builder.model.artifacts.lock_change import LockedChange, compare_locks
from builder.model.artifacts.lock_file import Lasting, LockFile, asked_of, differences, lines_of
from builder.model.recipe import DistributionName
from builder.reading import load_recipe
from tests.images import write_recipe

DIGEST = "0123456789abcdef" * 4
RECORD = "Package: hello\nVersion: 1:2-1\n\n%ODD%\nlast"
HELLO = LockedPackage("hello", "1:2-1", "amd64", "hello_1%3a2-1_amd64.deb", 7, DIGEST, RECORD)
LOADER = LockedPackage("grub", "2-1", "amd64", "grub_2-1_amd64.deb", 9, DIGEST, "Package: grub")
ORIGINS = {HELLO.filename: Origin(("http://mirror/hello.deb",), "core", True), LOADER.filename: Origin()}
LOCK = Lock((HELLO,), (LOADER,), ORIGINS, ("hello",), ())
FILE = LockFile(
    image="lab",
    distribution=DistributionName.DEBIAN,
    release="bookworm",
    asked={"packages": ("hello",)},
    epoch=1767312000,
    lasts=Lasting.NOT,
    tools={"apt": "2.6.1"},
    packages=lines_of(LOCK.packages, ORIGINS),
    loaders=lines_of(LOCK.loaders, ORIGINS),
    recommended=LOCK.recommended,
)


def test_it_is_read_as_it_was_written() -> None:
    text = FILE.to_json()
    assert LockFile.from_json(text) == FILE
    assert LockFile.from_json(text).lock == LOCK
    assert LockFile.from_json(text).to_json() == text
    # made for version control: one fact a line, keys sorted
    assert list(json.loads(text)) == sorted(json.loads(text))
    assert '"Version: 1:2-1",' in [line.strip() for line in text.splitlines()]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("filename", "../../etc/passwd"),
        ("filename", "/etc/passwd"),
        ("filename", ".."),
        ("filename", "-o.deb"),
        ("filename", "a b.deb"),
        ("filename", ""),
        ("sha256", "0" * 63),
        ("sha256", "../" + "0" * 61),
        ("size", -1),
        ("size", 0),
        ("size", 2**70),
        ("size", True),
        ("name", "--purge"),
        ("name", "a/b"),
        ("version", ""),
        ("architecture", "amd64 all"),
        ("record", ["Package: a\nPackage: b"]),
        ("urls", ["http://mirror/\x1b[2J"]),
        ("urls", "http://mirror/"),
        ("unheard", "of"),
    ],
)
@pytest.mark.parametrize("group", ["packages", "loaders"])
def test_what_would_lead_elsewhere_is_refused(group: str, key: str, value: Any) -> None:
    document = json.loads(FILE.to_json())
    document[group][0][key] = value
    with pytest.raises(ValueError):
        LockFile.from_json(json.dumps(document))


def test_two_files_of_one_name_are_refused() -> None:
    other = dataclasses.replace(FILE.loaders[0], filename=HELLO.filename, sha256="f" * 64)
    with pytest.raises(ValueError, match="two files are called"):
        LockFile.from_json(dataclasses.replace(FILE, loaders=(other,)).to_json())


def test_what_a_new_lock_changes() -> None:
    newer = dataclasses.replace(FILE.packages[0], version="1:3-1", sha256="f" * 64)
    more = dataclasses.replace(FILE.packages[0], name="more", filename="more.deb")
    new = dataclasses.replace(
        FILE, packages=(newer, more), loaders=(), epoch=1767312001, tools={"apt": "3.0"}, asked={"packages": ("more",)}
    )
    change = compare_locks(FILE, new)
    assert change.changed == (LockedChange("hello", "1:2-1", "1:3-1"),)
    assert (change.added, change.removed) == (("more 1:2-1",), ("grub (loader) 2-1",))
    assert (change.asked, change.tools) == (("packages: +more -hello",), ("apt 2.6.1 -> 3.0",))
    assert change.epoch == (1767312000, 1767312001)
    same = compare_locks(FILE, FILE)
    assert not any(dataclasses.astuple(same))


def test_what_decides_packages_is_asked_for_and_where_they_lie_is_not(tmp_path: Path) -> None:
    def asked(base: str, **changes: Any) -> dict[str, tuple[str, ...]]:
        return asked_of(load_recipe(write_recipe(tmp_path, base, **changes)).recipe)

    debian: dict[str, Any] = {"name": "debian", "suite": "bookworm"}
    usual = asked("debian-nfs", distribution=debian)
    mirrors = {"mirrors": ["http://other/debian"], "keyring": "/other.gpg"}
    assert asked("debian-nfs", distribution={**debian, **mirrors}) == usual
    for change, words in (
        ({"suite": "trixie"}, "suite: +trixie -bookworm"),
        ({"snapshot": "2026-11-01"}, "snapshot: +2026-11-01"),
        ({"recommends": "true"}, "recommends: +yes -no"),
        ({"components": ["main", "contrib"]}, "components: +contrib"),
    ):
        assert differences(asked("debian-nfs", distribution={**debian, **change}), usual) == [words]
    arch = asked("arch-nfs", distribution={"name": "arch"})
    ignoring = asked("arch-nfs", distribution={"name": "arch", "ignore": ["vi"]})
    assert differences(ignoring, arch) == ["ignore: +vi"]
    assert differences({"a": ("x", "y")}, {"a": ("y", "x")}) == ["a: in another order"]


@pytest.mark.parametrize(
    ("day", "urls", "lasts"),
    [
        (None, ("http://deb.debian.org/debian/a.deb",), Lasting.NOT),
        ("2026-11-01", ("http://snapshot.debian.org/archive/debian/20261101T000000Z/a.deb",), Lasting.SNAPSHOT),
        ("2026-11-01", ("https://archive.archlinux.org/repos/2026/11/01/core/os/x86_64/a.deb",), Lasting.SNAPSHOT),
        # a repository of its own beside the snapshot
        ("2026-11-01", ("http://mine/a.deb",), Lasting.NOT),
        # a file that the recipe itself names lasts as long as the recipe
        ("2026-11-01", (), Lasting.SNAPSHOT),
    ],
)
def test_a_lock_lasts_where_nothing_is_dropped(day: str | None, urls: tuple[str, ...], lasts: Lasting) -> None:
    assert _lasting(Lock((HELLO,), (), {HELLO.filename: Origin(urls)}), day) is lasts
