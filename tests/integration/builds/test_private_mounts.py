"""Mounts of one thread: who sees them, who does not, and that everything is as it was afterwards."""

from __future__ import annotations

import concurrent.futures
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from builder.system.private_mounts import detach, private_mounts
from builder.system.sandbox.init import mount
from tests.confined import confined
from tests.images import ROOT
from tests.require import needs_root, needs_tool

pytestmark = [needs_root, needs_tool("unshare"), pytest.mark.root]


class Elsewhere:
    """A thread that began before."""

    def __init__(self) -> None:
        self._orders: queue.Queue[Callable[[], object] | None] = queue.Queue()
        self._answers: queue.Queue[object] = queue.Queue()
        self._thread = threading.Thread(target=self._obey)
        self._thread.start()

    def _obey(self) -> None:
        while (order := self._orders.get()) is not None:
            self._answers.put(order())

    def ask(self, order: Callable[[], object]) -> object:
        self._orders.put(order)
        return self._answers.get(timeout=60)

    def end(self) -> None:
        self._orders.put(None)
        self._thread.join()


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    thread = Elsewhere()
    yield thread
    thread.end()


def mounted(point: Path) -> None:
    mount("tmpfs", str(point), "tmpfs")
    (point / "mark").touch()


def test_the_thread_and_what_it_starts_see_them_and_nobody_else(tmp_path: Path, elsewhere: Elsewhere) -> None:
    mark = tmp_path / "mark"
    namespace = Path("/proc/thread-self/ns/mnt").readlink()
    with private_mounts():
        mounted(tmp_path)
        assert mark.exists()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            assert pool.submit(mark.exists).result()
        assert subprocess.run(["test", "-e", mark], check=False).returncode == 0
        assert elsewhere.ask(mark.exists) is False
        assert str(tmp_path) not in Path("/proc/1/mountinfo").read_text("utf-8")
    assert not mark.exists()
    assert Path("/proc/thread-self/ns/mnt").readlink() == namespace


def test_another_thread_than_the_first_may_have_them(tmp_path: Path, elsewhere: Elsewhere) -> None:
    def there() -> bool:
        with private_mounts():
            mounted(tmp_path)
            return (tmp_path / "mark").exists()

    assert elsewhere.ask(there) is True
    assert elsewhere.ask(lambda: (tmp_path / "mark").exists()) is False
    assert not (tmp_path / "mark").exists()


def test_working_directory_and_umask_are_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with private_mounts():
        assert Path.cwd() == tmp_path
        os.chdir("/")
    assert Path.cwd() == tmp_path
    Path("here").touch()
    assert (tmp_path / "here").exists()


def test_one_in_the_other(tmp_path: Path) -> None:
    outer, inner = tmp_path / "outer", tmp_path / "inner"
    for path in (outer, inner):
        path.mkdir()
    with private_mounts():
        mounted(outer)
        with private_mounts():
            mounted(inner)
            assert (outer / "mark").exists()
            detach(outer)
            assert not (outer / "mark").exists()
        assert (outer / "mark").exists()
        assert not (inner / "mark").exists()
    assert not (outer / "mark").exists()


def test_an_error_inside_ends_them_too(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), private_mounts():
        mounted(tmp_path)
        raise ZeroDivisionError
    assert not (tmp_path / "mark").exists()


def test_a_thread_that_outlives_them(tmp_path: Path) -> None:
    """It has its directories in common with the thread that goes back, which setns(2) would refuse."""
    with private_mounts():
        mounted(tmp_path)
        late = Elsewhere()
    try:
        assert not (tmp_path / "mark").exists()
        assert late.ask((tmp_path / "mark").exists) is True
    finally:
        late.end()


IN_A_ROOT = """
import os, subprocess, sys
from builder.system.private_mounts import private_mounts
root = sys.argv[1]
subprocess.run(["mount", "--rbind", "/", root], check=True)
os.mkdir(root + "/" + root + "/only-here")
os.chroot(root)
os.chdir(root)
before = os.stat("/"), os.stat(".")
with private_mounts():
    assert os.path.isdir("only-here")
after = os.stat("/"), os.stat(".")
assert before == after, (before, after)
print(os.readlink("/proc/self/root"), os.readlink("/proc/self/cwd"))
"""


IN_A_USER_NAMESPACE = """
import os, sys
from pathlib import Path
from builder.system.private_mounts import detach, private_mounts
from builder.system.sandbox.init import mount
place = Path(sys.argv[1])
os.chdir(place)
with private_mounts():
    with private_mounts():
        mount("tmpfs", str(place), "tmpfs")
        (place / "mark").touch()
    assert not (place / "mark").exists()
    mount("tmpfs", str(place), "tmpfs")
    (place / "mark").touch()
    detach(place)
assert not (place / "mark").exists()
print(os.getcwd())
"""


def test_a_user_namespace_with_the_mounts_of_another_one(tmp_path: Path) -> None:
    """Nobody in it may go back to them."""
    command = [*confined("--ids", "65536"), sys.executable, "-c", IN_A_USER_NAMESPACE, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path)]


def test_a_changed_root_directory_is_as_before(tmp_path: Path) -> None:
    command = ["unshare", "--mount", "--propagation=private", sys.executable, "-c", IN_A_ROOT, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["/", str(tmp_path)]
