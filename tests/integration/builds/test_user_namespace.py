"""The user namespace of a build: what passes its border, who owns what, and how it ends."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from builder.archive.unpack import unpack
from builder.archive.writer import scan_tree, write_archive, write_index
from builder.errors import AuditError, CommandError, DisklessError, HostError, InputError
from builder.system.userns.ids import CALLER, find_ids
from builder.system.userns.inside import call_inside, hand_over
from tests.images import ROOT
from tests.require import needs_root
from tests.scratch import scratch

pytestmark = [needs_root, pytest.mark.root]
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")  # cap_net_raw+ep, version 2
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 1, 2, 4, 8, 16, 32  # posix_acl_xattr.h
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, permission, owner)
    for tag, permission, owner in (
        (_USER_OBJ, 6, 0xFFFFFFFF),
        (_USER, 4, 1234),
        (_GROUP_OBJ, 4, 0xFFFFFFFF),
        (_GROUP, 6, 4321),
        (_MASK, 6, 0xFFFFFFFF),
        (_OTHER, 0, 0xFFFFFFFF),
    )
)


def raising(error: BaseException) -> Callable[[], None]:
    def run() -> None:
        raise error

    return run


def test_it_is_root_there_and_nobody_here() -> None:
    ids = find_ids()
    assert call_inside(ids, lambda: [os.getuid(), os.getgid(), os.geteuid()]) == [0, 0, 0]
    maps = call_inside(ids, lambda: Path("/proc/self/uid_map").read_text("ascii"))
    assert [list(map(int, line.split())) for line in maps.splitlines()] == [
        [0, ids.users[0].outside, 65535],
        [CALLER, os.getuid(), 1],
    ]
    assert ids.users[0].outside > 0


def test_what_it_makes_belongs_to_ids_that_nobody_has(tmp_path: Path) -> None:
    first = find_ids().users[0].outside

    def make() -> None:
        (tmp_path / "file").touch()
        (tmp_path / "other").touch()
        os.chown(tmp_path / "other", 1000, 65534)

    call_inside(find_ids(), make)
    info, other = (tmp_path / "file").stat(), (tmp_path / "other").stat()
    assert (info.st_uid, info.st_gid) == (first, first)
    assert (other.st_uid, other.st_gid) == (first + 1000, first + 65534)
    assert subprocess.run(["getent", "passwd", str(first)], stdout=subprocess.DEVNULL, check=False).returncode == 2


def test_what_is_finished_is_handed_over(tmp_path: Path) -> None:
    def make() -> None:
        (tmp_path / "made").mkdir()
        (tmp_path / "made/file").touch()
        hand_over(tmp_path / "made")

    call_inside(find_ids(), make)
    assert {path.stat().st_uid for path in (tmp_path / "made", tmp_path / "made/file")} == {os.getuid()}


@pytest.mark.parametrize("kind", [InputError, HostError, AuditError, CommandError, DisklessError])
def test_an_error_comes_out_as_it_was(kind: type[DisklessError]) -> None:
    error = kind("what", "hint", ("one", "two"))
    error.phase = "install"
    if isinstance(error, CommandError):
        error.status = 42
    with pytest.raises(kind) as caught:
        call_inside(find_ids(), raising(error))
    assert vars(caught.value) == vars(error)
    assert type(caught.value) is kind


def test_other_errors_come_out_too() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        call_inside(find_ids(), lambda: os.stat("/no/such/file"))  # noqa: PTH116
    assert caught.value.filename == "/no/such/file"
    with pytest.raises(KeyboardInterrupt):
        call_inside(find_ids(), raising(KeyboardInterrupt()))
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        call_inside(find_ids(), lambda: 1 // 0)


def test_one_that_is_killed_is_said() -> None:
    with pytest.raises(HostError, match=r"ended without a word .killed by SIGKILL"):
        call_inside(find_ids(), lambda: os.kill(os.getpid(), signal.SIGKILL))


ENDED = """
import os, sys, time
from builder.system.userns.ids import find_ids
from builder.system.userns.inside import call_inside
import signal
signal.signal(signal.SIGTERM, signal.default_int_handler)
def run():
    try:
        print(os.stat(f"/proc/self").st_ino, flush=True)
        print(os.readlink("/proc/self"), flush=True)
        time.sleep(600)
    finally:
        print("in order", flush=True)
call_inside(find_ids(), run)
"""


@pytest.fixture
def running() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that called something inside, and the process that is there."""
    with subprocess.Popen([sys.executable, "-c", ENDED], cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8") as outer:
        assert outer.stdout is not None
        outer.stdout.readline()
        inner = int(outer.stdout.readline())
        try:
            yield outer, inner
        finally:
            outer.kill()


def is_gone(pid: int) -> bool:
    for _ in range(200):
        if not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_whoever_began_it(running: tuple[subprocess.Popen[str], int], number: signal.Signals) -> None:
    outer, inner = running
    outer.send_signal(number)
    outer.wait()
    assert is_gone(inner)
    assert outer.stdout is not None
    assert outer.stdout.read() == ("in order\n" if number == signal.SIGTERM else "")


def test_capabilities_and_named_acls_are_those_of_the_image(tmp_path: Path) -> None:
    """On the disk they are of the host's ids; in an archive, and where it is unpacked, they are not."""
    (tmp_path / "artifacts").mkdir()

    def build() -> None:
        tree = tmp_path / "artifacts/tree"
        tree.mkdir()
        for name, owner in (("ping", 0), ("shared", 1234)):
            (tree / name).write_bytes(b"x")
            os.chown(tree / name, owner, owner)
        os.setxattr(tree / "ping", "security.capability", CAPABILITY)
        os.setxattr(tree / "shared", "system.posix_acl_access", ACL)
        write_index(write_archive(scan_tree(tree, 1), tmp_path / "artifacts/a.tar.zst"), tmp_path / "artifacts/index")

    call_inside(find_ids(), build)
    first = find_ids().users[0].outside
    stored = os.getxattr(tmp_path / "artifacts/tree/ping", "security.capability")
    assert (len(stored), struct.unpack("<I", stored[-4:])) == (24, (first,))  # version 3, with whose root it is for
    (tmp_path / "out").mkdir()
    unpack(tmp_path / "artifacts/a.tar.zst", tmp_path / "artifacts/index", tmp_path / "out")
    assert os.getxattr(tmp_path / "out/ping", "security.capability") == CAPABILITY
    assert os.getxattr(tmp_path / "out/shared", "system.posix_acl_access") == ACL
    assert (tmp_path / "out/shared").stat().st_uid == 1234


@pytest.mark.parametrize("owner", [65535, 1000200001, 4294967279])
def test_owners_beyond_the_usual_have_ids_too(owner: int, tmp_path: Path) -> None:
    def make() -> int:
        (tmp_path / "file").touch()
        os.chown(tmp_path / "file", owner, owner)
        return (tmp_path / "file").stat().st_uid

    assert call_inside(find_ids([owner, 0, 1000]), make) == owner
    assert (tmp_path / "file").stat().st_uid not in (owner, 0)


GROUPED = """
import os, sys
from pathlib import Path
from builder.system.run import Runner
from builder.system.sandbox.cgroup import own_cgroup
from builder.system.userns.ids import find_ids
from builder.system.userns.inside import call_inside
from tests.integration.builds.test_sandbox import make_box
work, delegate = Path(sys.argv[1]), sys.argv[2] == "yes"
group = Path("/sys/fs/cgroup") / f"diskless-test-{os.getpid()}"
group.mkdir()
(group / "cgroup.procs").write_text(str(os.getpid()))
if delegate:
    os.setxattr(group, "user.delegate", b"1")
with Runner(work.parent / "log") as runner:
    box = make_box(runner, work)
    seen = call_inside(find_ids(), lambda: box.run("cat", "/proc/self/cgroup", "/proc/1/cgroup"))

    def groups():
        with own_cgroup() as words:
            return [bool(words), len([path for path in group.iterdir() if path.is_dir()])]

    print(call_inside(find_ids(), groups))
print(sorted({line for line in seen.splitlines() if line.startswith("0::")}))
print([path.name for path in group.iterdir() if path.is_dir()])
(Path("/sys/fs/cgroup") / "cgroup.procs").write_text(str(os.getpid()))
group.rmdir()
"""


@pytest.mark.parametrize("delegated", ["yes", "no"])
def test_a_sandbox_sees_its_own_control_group_and_leaves_none(delegated: str) -> None:
    """The namespace shows it as the top, whether it is a group of its own or the caller's."""
    place = scratch() / f"cgroup-{delegated}"
    place.mkdir()
    mount = 'mount -t cgroup2 none /sys/fs/cgroup && exec "$0" -c "$@"'
    done = subprocess.run(
        [
            *("unshare", "--mount", "--propagation", "private", "sh", "-c", mount),
            *(sys.executable, GROUPED, str(place / "work"), delegated),
        ],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[True, 1]" if delegated == "yes" else "[False, 0]", "['0::/']", "[]"]
