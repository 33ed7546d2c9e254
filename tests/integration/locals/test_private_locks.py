"""Locks: another user can hold none of them, and who waits for one is told for what, for whom and how long."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.archive.writer import scan_tree, write_archive
from builder.cache import TreeCache
from builder.errors import HostError
from builder.system.guarded import locks
from builder.system.guarded.locks import locked
from builder.transports.base import Options
from builder.transports.kept import open_kept
from tests.holders import holding
from tests.images import run_diskless, running_diskless
from tests.integration.builds.test_sandbox import small_tree
from tests.require import needs_root, needs_tool
from tests.stores import SERVER, version
from tests.strangers import STRANGER, held_by_stranger, open_ground
from tests.versions import EPOCH

pytestmark = [needs_root, needs_tool("setpriv"), pytest.mark.root]


@pytest.fixture
def ground() -> Iterator[Path]:
    with open_ground() as place:
        yield place


def all_locks(ground: Path) -> list[Path]:
    """Every lock file, and every directory that is locked itself, of some commands that were run under umask 0."""
    before = os.umask(0)
    try:
        cache = ground / "cache"
        cache.mkdir(mode=0o755)
        TreeCache(cache, print).keep("0" * 64, small_tree(), EPOCH, lambda name: None)
        with open_kept(Options(cache=cache), "versions", "abc").partial("d" * 64) as part:
            part.write(b"x")
    finally:
        os.umask(before)
    output = ground / "output"
    run_diskless("pull", version("1"), "--output", output, umask=0)
    run_diskless("deploy", version("1"), "--to", ground / "store", "--server", SERVER, umask=0)
    found = [ground / "store/.lock", output / ".work/lock", cache / "trees/lock", cache / "trees" / ("0" * 64)]
    found.append(cache / "transfers/versions/abc" / ("d" * 64 + ".part"))
    assert all(path.exists() for path in found)
    return found


def test_no_other_user_can_hold_any(ground: Path) -> None:
    found = all_locks(ground)
    assert held_by_stranger(*found) == []
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in found if path.is_file()} == dict.fromkeys(
        (".lock", "lock", "d" * 64 + ".part"), "0o600"
    )


def test_a_lock_of_the_first_release_is_closed_with_a_word(ground: Path) -> None:
    lock = ground / "lock"
    lock.touch(mode=0o644)
    lock.chmod(0o644)
    assert held_by_stranger(lock) == [str(lock)]
    said: list[str] = []
    with locked(lock, "never", said.append):
        assert said == [f"{lock} could be held by others (mode 0644): it is 0600 now"]
    assert held_by_stranger(lock) == []


@pytest.mark.parametrize("what", ["link", "fifo", "directory", "somebody else's"])
def test_what_another_user_planted_is_no_lock(what: str, ground: Path) -> None:
    lock, victim = ground / "lock", ground / "victim"
    victim.write_bytes(b"untouched")
    if what == "link":
        lock.symlink_to(victim)
    elif what == "fifo":
        os.mkfifo(lock)
    elif what == "directory":
        lock.mkdir()
    else:
        lock.touch()
        os.chown(lock, STRANGER, STRANGER)
    before = victim.stat()
    with pytest.raises(HostError) as caught, locked(lock, "never", print):
        pass
    assert str(lock) in caught.value.message
    assert caught.value.hint
    assert (victim.stat().st_mode, victim.read_bytes()) == (before.st_mode, b"untouched")


@pytest.mark.parametrize(
    ("owner", "mode", "words", "remedy"),
    [
        (0, 0o777, "can be written by others", "chmod go-w"),
        (0, 0o775, "can be written by others", "chmod go-w"),
        (STRANGER, 0o755, "'s: no lock in it would hold", "chown root"),
    ],
)
def test_a_lock_where_others_may_write_is_none(owner: int, mode: int, words: str, remedy: str, ground: Path) -> None:
    os.chown(ground, owner, 5)
    ground.chmod(mode)
    with pytest.raises(HostError, match=words) as caught, locked(ground / "lock", "never", print):
        pass
    assert remedy in (caught.value.hint or "")


def test_a_store_where_others_may_write_is_closed_with_a_word(ground: Path) -> None:
    store = ground / "store"
    store.mkdir()
    store.chmod(0o777)
    done = run_diskless("deploy", version("1"), "--to", store, "--server", SERVER)
    assert done.returncode == 0, done.stderr
    assert f"{store} was open to others (mode 0777): it is 0755 now" in done.stderr


class Clock:
    """A minute passes with each look at the lock."""

    def __init__(self) -> None:
        self._minutes = itertools.count()

    def monotonic(self) -> float:
        return 60.0 * next(self._minutes)

    def sleep(self, seconds: float) -> None:
        pass


def test_who_waits_is_told_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "time", Clock())
    said: list[str] = []
    with holding(tmp_path / "lock") as release:

        def tell(text: str) -> None:
            said.append(text)
            if len(said) == 4:
                release()

        with locked(tmp_path / "lock", "another build works", tell):
            pass
    holder = f"another build works (process {os.getpid()}, {Path('/proc/self/comm').read_text().strip()})"
    assert said == [
        f"waiting: {holder}",
        *(f"still waiting, for {minute * 60} s: {holder}" for minute in (1, 2, 3)),
    ]


def test_a_wait_with_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "time", Clock())
    with (
        holding(tmp_path / "lock"),
        pytest.raises(HostError, match="waited 3600 s: another one works") as caught,
        locked(tmp_path / "lock", "another one works", lambda text: None, 3600),
    ):
        pass
    assert f"fuser {tmp_path}/lock" in (caught.value.hint or "")


@pytest.mark.parametrize("command", ["build", "shell", "pull", "boot"])
def test_each_command_says_that_it_waits(command: str, ground: Path) -> None:
    output, cache = ground / "output", ground / "cache"
    shutil.copytree(version("1").parent.parent, output, symlinks=True)
    work = cache / "boot" if command == "boot" else output / ".work"
    work.mkdir(parents=True)
    work.chmod(0o700)
    recipe = Path(__file__).parents[3] / "recipes/debian-nfs.yml"
    arguments: dict[str, tuple[str | Path, ...]] = {
        "build": ("build", recipe, "--output", output, "--cache", cache),
        "shell": ("shell", "lab", "--output", output, "--", "true"),
        "pull": ("pull", version("1"), "--output", output),
        "boot": ("boot", "lab", "--output", output, "--cache", cache),
    }
    with holding(work / "lock"), running_diskless(*arguments[command]) as process:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        word = next((line for line in lines if "waiting" in line), "")
        process.terminate()
        process.communicate()
    assert f"waiting: another diskless makes its work directory in {work} (process {os.getpid()}, " in word


def test_an_archive_in_the_cache_is_closed_too(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_archive(scan_tree(small_tree(), EPOCH), tmp_path / "archive")
    finally:
        os.umask(before)
    assert (tmp_path / "archive").stat().st_mode & 0o777 == 0o640
