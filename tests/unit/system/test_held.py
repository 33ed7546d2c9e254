"""Directories that are held open: what is reached from them, what is refused, and that removing comes to an end."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path

import pytest

from builder.system.files import names_in
from builder.system.guarded import removal
from builder.system.guarded.held import HeldDirectory
from builder.system.guarded.removal import remove_at, remove_tree


@pytest.fixture
def held(tmp_path: Path) -> HeldDirectory:
    (tmp_path / "held/a/b").mkdir(parents=True)
    (tmp_path / "held/a/file").write_bytes(b"inside")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_bytes(b"outside")
    (tmp_path / "held/link").symlink_to(tmp_path / "outside")
    (tmp_path / "held/a/link").symlink_to("file")
    (tmp_path / "held/inner").symlink_to("a")
    return HeldDirectory.at(tmp_path / "held")


@pytest.mark.parametrize(
    "names", [("link",), ("inner",), ("inner", "b"), ("..",), ("a", "..", "..", "outside"), ("/etc",)]
)
def test_no_way_leads_out_or_through_a_link(names: tuple[str, ...], held: HeldDirectory) -> None:
    with pytest.raises(OSError, match=r"symbolic links|cross-device") as caught:
        held.enter(*names)
    assert caught.value.errno in (errno.ELOOP, errno.EXDEV)


def test_what_is_reached(held: HeldDirectory) -> None:
    with held.enter("a", "b") as below:
        assert below.path == held.path / "a/b"
    with held.enter("a") as below, below.open("file") as file:
        assert file.read() == b"inside"
    with held.enter("a") as below, pytest.raises(OSError, match="not a plain file"):
        below.open("link")
    assert (held.kind("link"), held.kind("a"), held.kind("nothing")) == (stat.S_IFLNK, stat.S_IFDIR, 0)
    assert held.directories() == ["a"]


def test_a_path_with_a_link_in_it_is_not_held(tmp_path: Path, held: HeldDirectory) -> None:
    with pytest.raises(OSError, match="symbolic links"):
        HeldDirectory.at(held.path / "link")
    with pytest.raises(OSError, match="symbolic links"):
        HeldDirectory.at(held.path / "inner/b")


def test_it_is_the_same_directory_whatever_its_name_is(tmp_path: Path, held: HeldDirectory) -> None:
    held.path.rename(tmp_path / "away")
    (tmp_path / "held").symlink_to(tmp_path / "outside")
    held.write("new", io.BytesIO(b"x"), 0o640)
    assert (tmp_path / "away/new").read_bytes() == b"x"
    assert [path.name for path in (tmp_path / "outside").iterdir()] == ["file"]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_modes_whatever_the_umask(umask: int, held: HeldDirectory) -> None:
    before = os.umask(umask)
    try:
        held.make("made", 0o755).close()
        held.make_temporary(".tmp-").close()
        held.write("written", io.BytesIO(b"x"), 0o644)
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE((held.path / name).stat().st_mode) for name in held.names()}
    assert (modes["made"], modes["written"]) == (0o755, 0o644)
    assert {mode for name, mode in modes.items() if name.startswith(".tmp-")} == {0o700}


def test_a_link_is_replaced_and_not_written_through(tmp_path: Path, held: HeldDirectory) -> None:
    (held.path / "log").symlink_to(tmp_path / "outside/file")
    held.write("log", io.BytesIO(b"new"), 0o640)
    assert ((held.path / "log").is_symlink(), (held.path / "log").read_bytes()) == (False, b"new")
    held.point("latest", "one")
    held.point("latest", "two")
    assert held.link("latest") == "two"
    assert (tmp_path / "outside/file").read_bytes() == b"outside"
    assert [name for name in held.names() if name.startswith(".tmp-")] == []


def test_a_write_that_fails_leaves_what_was_there(held: HeldDirectory) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(errno.EIO, "broken")

    held.write("log", io.BytesIO(b"old"), 0o640)
    with pytest.raises(OSError, match="broken"):
        held.write("log", Broken(), 0o640)
    assert (held.path / "log").read_bytes() == b"old"
    assert [name for name in held.names() if name.startswith(".tmp-")] == []


def test_names_are_those_of_now(held: HeldDirectory) -> None:
    before = names_in(held.handle)
    (held.path / "new").touch()
    assert names_in(held.handle) == sorted([*before, "new"])


def test_removing_follows_nothing(tmp_path: Path, held: HeldDirectory) -> None:
    held.remove("link")
    held.remove("a")
    assert held.names() == ["inner"]
    assert (tmp_path / "outside/file").read_bytes() == b"outside"
    with pytest.raises(OSError, match="cannot be removed: No such file"):
        held.remove("a")


def test_removing_ends_although_somebody_adds_to_it(
    tmp_path: Path, held: HeldDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = removal._remove_name
    count = 0

    def adding(name: str, directory: int, top: int, depth: int) -> None:
        nonlocal count
        count += 1
        (held.path / f"a/{count}").touch()
        real(name, directory, top, depth)

    monkeypatch.setattr(removal, "_MOST_PASSES", 5)
    monkeypatch.setattr(removal, "_remove_name", adding)
    with pytest.raises(OSError, match="others write to it while it is removed"):
        held.remove("a")


def test_what_changes_while_it_is_removed(held: HeldDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory becomes a link, a file a directory: another pass takes what is there by then."""
    real = removal._remove_name

    def exchanging(name: str, directory: int, top: int, depth: int) -> None:
        if name == "b" and (held.path / "a/b").is_dir() and not (held.path / "a/b").is_symlink():
            (held.path / "a/b").rmdir()
            (held.path / "a/b").symlink_to("/etc")
            raise OSError(errno.ELOOP, "it is a link now")
        if name == "file" and (held.path / "a/file").is_file():
            (held.path / "a/file").unlink()
            (held.path / "a/file").mkdir()
            os.unlink(name, dir_fd=directory)
        real(name, directory, top, depth)

    monkeypatch.setattr(removal, "_remove_name", exchanging)
    held.remove("a")
    assert "a" not in held.names()


def test_of_a_tree_only_its_own_name_goes(tmp_path: Path) -> None:
    (tmp_path / "tree/deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to("tree")
    remove_tree(tmp_path / "link")
    assert (tmp_path / "tree/deep").is_dir()
    directory = os.open(tmp_path, os.O_RDONLY)
    remove_at(directory, "tree", tmp_path / "tree")
    os.close(directory)
    assert list(tmp_path.iterdir()) == []
