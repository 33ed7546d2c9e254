"""Whoever builds, root, an ordinary user or a container: the version is the same, and nothing is anybody else's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from builder.model.artifacts.manifest import BUNDLE, CHECKSUMS, INDEX, MANIFEST, ROOTFS
from tests.confined import confined
from tests.images import DISKLESS, ROOT, build_image, debian_image, write_recipe
from tests.pacman_distribution.distribution import pacman_distribution
from tests.require import needs_network, needs_open_checkout, needs_root, needs_tool
from tests.scratch import scratch
from tests.users import User

pytestmark = [
    needs_root,
    needs_network,
    needs_tool("mmdebstrap", "newuidmap", "setpriv", "pacman"),
    needs_open_checkout,
    pytest.mark.root,
    pytest.mark.network,
]
STEPS = ("resolve", "fetch", "install", "initramfs", "audit", "pack", "clean")
BASES = ("debian-nfs", "debian-nfs-overlay", "arch-nfs", "arch-nfs-classic")


def build(command: Sequence[str], recipe: Path, place: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, "build", str(recipe), "--output", str(place / "output")],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        umask=0o077,
        check=False,
    )


def command_of(user: User) -> list[str]:
    return [*user.prefix(), str(user.program)]


def recipe_of(version: Path, place: Path) -> Path:
    """A copy of the recipe that a version of debian_image() was built from, readable by everybody."""
    path = place / "recipe.yml"
    path.write_bytes((scratch() / "recipes" / version.parent.name / "debian-nfs.yml").read_bytes())
    path.chmod(0o644)
    return path


def owners(place: Path) -> dict[int, list[Path]]:
    """The paths of each."""
    found: dict[int, list[Path]] = {}
    for path in (place, *place.rglob("*")):
        found.setdefault(path.lstat().st_uid, []).append(path)
    return found


def test_an_ordinary_user_builds_the_same() -> None:
    version = debian_image()
    user = User("same")
    done = build(command_of(user), recipe_of(version, user.home.parent), user.home, user.environment())
    assert done.returncode == 0, done.stderr
    other = Path(done.stdout.strip())
    assert other.name == version.name
    for name in (ROOTFS, BUNDLE, INDEX, MANIFEST, CHECKSUMS):
        assert (other / name).read_bytes() == (version / name).read_bytes(), name
    assert owners(user.home / "output").keys() == {user.number}
    assert [path.name for path in (user.home / "output/.work").iterdir()] == ["lock"]
    assert [path.name for path in (user.home / ".cache/diskless").iterdir()] == ["ids-3000000000"]
    assert 0 not in owners(user.home)


@pytest.mark.full
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("who", ["user", "container", "no right in the host's namespace"])
def test_every_recipe(base: str, who: str) -> None:
    changes: dict[str, Any] = {"distribution": pacman_distribution().recipe} if base.startswith("arch-") else {}
    version = build_image(f"same-{base}", base, **changes)
    place = scratch() / f"same-{base}-{who.replace(' ', '-')}"
    place.mkdir(mode=0o755)
    recipe = write_recipe(place, base, image=version.parent.name, **changes)
    recipe.chmod(0o644)
    env = {**os.environ, "DISKLESS_CACHE": str(place / "cache")}
    if who == "user":
        user = User(base)
        done = build(command_of(user), recipe, user.home, user.environment())
    else:
        options = ("--ids", "65536") if who == "container" else ("--drop", "sys_admin")
        done = build([*confined(*options), DISKLESS], recipe, place, env)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).name == version.name


@pytest.mark.full
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_in_any_step_of_a_users_build_leaves_nothing(step: str) -> None:
    user = User(step)
    recipe, env = recipe_of(debian_image(), user.home.parent), user.environment()
    command = [*command_of(user), "build", str(recipe), "--output", str(user.home / "output"), "--events", "-"]
    with subprocess.Popen(
        command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            event = json.loads(line) if line.startswith(b"{") else {}
            if event.get("event") == "step-start" and event.get("name") == step:
                break
        time.sleep(0.3)
        process.send_signal(signal.SIGKILL)
    assert wait_until_gone(str(user.home))
    assert str(user.home) not in Path("/proc/self/mountinfo").read_text("utf-8")
    done = build(command_of(user), recipe, user.home, env)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (user.home / "output/.work").iterdir()] == ["lock"]


def wait_until_gone(mark: str) -> bool:
    """Whether no process has `mark` in its command line any more."""
    for _ in range(300):
        found = subprocess.run(["pgrep", "-f", mark], stdout=subprocess.DEVNULL, check=False)
        if found.returncode == 1:
            return True
        time.sleep(0.1)
    return False
