"""What a clean-up leaves is told, and keeps nobody from building; where nothing may run, nothing is begun."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.errors import HostError
from builder.system.guarded.private import made_directory
from builder.system.guarded.removal import remove_tree
from builder.system.private_mounts import private_mounts
from builder.system.workspace import open_workspace, require_execution
from tests.images import run_diskless, write_recipe
from tests.require import needs_root, needs_tool
from tests.scratch import new_place

pytestmark = [needs_root, needs_tool("chattr"), pytest.mark.root]


@pytest.fixture
def place() -> Iterator[Path]:
    path = new_place()
    yield path
    subprocess.run(["chattr", "-R", "-f", "-i", path], check=False)


def protect(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    subprocess.run(["chattr", "+i", path], check=True)


def test_a_file_that_cannot_be_removed_is_a_warning_that_names_it(place: Path) -> None:
    noted: list[str] = []
    warned: list[str] = []
    with open_workspace(made_directory(place / "work", 0o700), noted.append, warned.append) as workspace:
        protect(workspace.inside / "tree/etc/kept")
        (workspace.inside / "tree/var").mkdir()
    (said,) = warned
    assert f"{workspace.path}" in said
    assert "sudo rm -r" in said
    assert noted == []
    # everything else is gone
    assert [path.name for path in workspace.inside.rglob("*")] == ["tree", "etc", "kept"]


def test_the_next_build_goes_on(place: Path) -> None:
    with open_workspace(made_directory(place / "work", 0o700), print) as workspace:
        protect(workspace.inside / "kept")
    warned: list[str] = []
    with open_workspace(made_directory(place / "work", 0o700), print, warned.append) as other:
        assert other.path != workspace.path
        assert len(warned) == 1
    assert not other.path.exists()
    subprocess.run(["chattr", "-i", workspace.inside / "kept"], check=True)
    with open_workspace(made_directory(place / "work", 0o700), print, warned.append):
        assert not workspace.path.exists()
    assert len(warned) == 1


def test_one_that_stays_keeps_nothing_else_from_being_removed(place: Path) -> None:
    for name in ("a", "b/kept", "c"):
        (place / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (place / "tree" / name).write_bytes(b"")
    protect(place / "tree/b/kept")
    with pytest.raises(OSError, match="cannot be removed"):
        remove_tree(place / "tree")
    assert [path.name for path in (place / "tree").rglob("*")] == ["b", "kept"]


@pytest.mark.parametrize("option", ["noexec", "nosuid"])
@pytest.mark.parametrize("command", ["build", "shell"])
def test_an_output_where_programs_cannot_run_is_refused_at_once(command: str, option: str, place: Path) -> None:
    recipe = write_recipe(place)
    (place / "output").mkdir()
    with private_mounts():
        subprocess.run(["mount", "-t", "tmpfs", "-o", option, "none", place / "output"], check=True)
        with pytest.raises(HostError, match=f"mounted {option}"):
            require_execution(place / "output/below")
        target = [recipe] if command == "build" else []
        done = run_diskless(command, *target, "--output", place / "output")
        assert list((place / "output").iterdir()) == []
    assert done.returncode == 3
    assert f"remount,{option.removeprefix('no')}" in done.stderr
    assert "resolve" not in done.stderr
