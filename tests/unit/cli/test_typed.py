"""Hints can be typed as they are printed: by root, with sudo, from a virtual environment or from the PATH."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from builder.cli.typed import as_typed
from tests.images import DISKLESS

SUDO = {"SUDO_UID": "1000", "PATH": "/usr/bin"}
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: an ordinary user is always told sudo")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "my checkout/.venv/bin/diskless"
    path.parent.mkdir(parents=True)
    path.touch(mode=0o755)
    monkeypatch.chdir(tmp_path / "my checkout")
    return path


@root_only
def test_root_with_the_program_on_the_path(program: Path) -> None:
    environment = {"PATH": str(program.parent)}
    assert as_typed("next: diskless boot x", str(program), environment) == "next: diskless boot x"


@root_only
@pytest.mark.parametrize("absolute", [True, False])
def test_root_by_a_path(program: Path, absolute: bool) -> None:
    called = str(program) if absolute else ".venv/bin/diskless"
    assert as_typed("sudo diskless doctor", called, {"PATH": "/usr/bin"}) == ".venv/bin/diskless doctor"


@root_only
def test_a_path_with_a_space_is_quoted(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/usr")
    assert as_typed("diskless boot x", str(program), {"PATH": "/usr/bin"}) == f"'{program}' boot x"


def test_what_was_run_with_sudo_is_run_with_sudo_again(program: Path) -> None:
    called = ".venv/bin/diskless"
    assert as_typed("`diskless build R`", called, SUDO) == "`sudo .venv/bin/diskless build R`"
    assert as_typed("diskless check R", called, SUDO) == ".venv/bin/diskless check R"


def test_sudo_does_not_search_a_virtual_environment(program: Path) -> None:
    environment = {**SUDO, "PATH": str(program.parent)}
    assert as_typed("diskless deploy x", str(program), environment) == "sudo .venv/bin/diskless deploy x"
    assert as_typed("diskless diff x", str(program), environment) == "diskless diff x"


@pytest.mark.parametrize(
    "text", ["/usr/bin/diskless boot", "diskless is not a command here", "diskless-boot x", "my.diskless boot"]
)
def test_other_words_stay(program: Path, text: str) -> None:
    assert as_typed(text, str(program), SUDO) == text


def test_twice_is_once(program: Path) -> None:
    once = as_typed("diskless boot x", ".venv/bin/diskless", SUDO)
    assert as_typed(once, ".venv/bin/diskless", SUDO) == once


def test_the_hint_of_an_error(tmp_path: Path) -> None:
    store = tmp_path / "no store"
    done = subprocess.run(
        [DISKLESS, "status", "--to", store],
        capture_output=True,
        encoding="utf-8",
        env={"PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert done.returncode == 2
    program = shlex.quote(os.path.relpath(DISKLESS) if Path(DISKLESS).is_relative_to(Path.cwd()) else DISKLESS)
    sudo = "" if os.geteuid() == 0 else "sudo "
    assert f"hint: {sudo}{program} deploy --to '{store}' makes one" in done.stderr
