"""Behind sudo(8): output/ is the user's to read, in a home directory that is closed to all others."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path

import pytest

from builder.system.userns.ids import find_ids
from builder.system.userns.inside import call_inside
from tests.arch_images import write_arch_recipe
from tests.images import run_diskless
from tests.require import needs_root, needs_tool
from tests.scratch import new_place

pytestmark = [needs_root, pytest.mark.root]
USER = pwd.getpwnam("games")  # of every Debian, with a group of its own


@pytest.fixture
def home() -> Path:
    home = new_place() / "home"
    home.mkdir(mode=0o700)
    os.chown(home, USER.pw_uid, USER.pw_gid)
    return home


def test_a_build_reaches_what_only_its_user_and_root_may_reach(home: Path) -> None:
    output = home / "output"
    output.mkdir(mode=0o750)
    os.chown(output, 0, USER.pw_gid)
    (output / "file").write_text("here", "ascii")
    (output / "file").chmod(0o640)
    os.chown(output / "file", 0, USER.pw_gid)

    def look() -> str:
        return (output / "file").read_text("ascii")

    assert call_inside(find_ids(), look, (output,)) == "here"
    with pytest.raises(PermissionError):
        call_inside(find_ids(), look)


@needs_tool("pacman")
@pytest.mark.full
def test_sudo_diskless_build_in_a_home_directory(home: Path) -> None:
    """The first build, one that changes something, and one that changes nothing."""
    sudo = {"SUDO_UID": str(USER.pw_uid), "SUDO_GID": str(USER.pw_gid), "SUDO_USER": USER.pw_name}
    seconds = []
    for text in ("one\n", "two\n", "two\n"):
        recipe = write_arch_recipe(home, image="lab", files=[{"path": "/etc/motd", "text": text}])
        paths = ("--output", home / "output", "--cache", home / "cache")
        done = run_diskless("build", recipe, *paths, "--json", env=sudo)
        assert done.returncode == 0, done.stderr
        seconds.append(set(json.loads(done.stdout)["seconds"]))
    assert [{"pack"} <= steps for steps in seconds] == [True, True, False]
    (latest,) = {path.resolve() for path in (home / "output/lab").glob("latest")}
    for path in (home / "output", latest.parent, latest, *latest.iterdir()):
        info = path.stat()
        assert (info.st_uid, info.st_gid, info.st_mode & 0o007) == (0, USER.pw_gid, 0), path
