"""What release 0.1 left to root is named, with the command that hands it over."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.images import run_diskless, write_recipe
from tests.require import needs_open_checkout, needs_root, needs_tool
from tests.users import User

pytestmark = [needs_root, needs_tool("mmdebstrap", "newuidmap", "setpriv"), needs_open_checkout, pytest.mark.root]


def said(user: User, output: Path) -> str:
    """What a build says that must not begin."""
    recipe = write_recipe(user.home.parent)
    recipe.chmod(0o644)
    done = run_diskless("build", recipe, "--output", output, user=user)
    assert done.returncode == 3, done.stderr
    assert "resolve ..." not in done.stderr
    return done.stderr


@pytest.mark.parametrize("left", ["output", "output/.work", "output/debian-nfs"])
def test_an_output_of_root(left: str) -> None:
    user = User(f"left-{Path(left).name}")
    output = user.home / "output"
    output.mkdir()
    os.chown(output, user.number, user.number)
    path = user.home / left
    path.mkdir(exist_ok=True, mode=0o750)
    os.chown(path, 0, 0)
    text = said(user, output)
    assert f"{path} is root's, and tester may not write to it" in text
    assert f"sudo chown -R tester: {path}" in text


def test_a_user_without_ids() -> None:
    user = User("without")
    for table in ("subuid", "subgid"):
        (user.home.parent / table).write_text("", "ascii")
    text = said(user, user.home / "output")
    assert "tester has no subordinate user ids, an image needs 65535" in text
    assert "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 tester" in text
    assert not (user.home / "output").exists()


def test_a_host_without_newuidmap() -> None:
    user = User("no-program")
    empty = user.home.parent / "sbin"
    empty.mkdir()
    for name in ("newuidmap", "newgidmap"):
        (empty / name).write_text("#!/bin/sh\nexit 7\n", "ascii")
        (empty / name).chmod(0o755)
    recipe = write_recipe(user.home.parent)
    recipe.chmod(0o644)
    done = run_diskless("build", recipe, "--output", user.home / "output", user=user, programs=empty)
    assert done.returncode == 3, done.stderr
    assert "newuidmap failed" in done.stderr
    assert "neither set-user-ID nor has it capabilities" in done.stderr
    shutil.rmtree(user.home.parent)
