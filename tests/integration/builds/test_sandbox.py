"""The sandbox: what runs in it changes nothing of the host, sees little of it, and is gone when it ends."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from builder.errors import CommandError, HostError
from builder.system.files import mounts_below
from builder.system.run import CLEAN_ENVIRONMENT, Runner
from builder.system.sandbox.init import DEVICES
from builder.system.sandbox.network import NetworkAccess
from builder.system.sandbox.sandbox import Sandbox, require_open
from tests.images import ROOT, own
from tests.require import needs_root, needs_tool
from tests.scratch import scratch
from tests.trees import copy_programs

# the host's: that of the tests' environment may lie where a sandbox sees nothing
PYTHON = "/usr/bin/python3"
pytestmark = [needs_root, needs_tool("unshare", "setpriv"), pytest.mark.root]
OWN_MOUNTS = {"/tmp", "/run", "/proc", "/dev", "/dev/pts", "/dev/shm", *(f"/dev/{name}" for name in DEVICES)}


@dataclass(frozen=True)
class Box:
    """A sandbox and the directories of the host that it was given."""

    sandbox: Sandbox
    work: Path

    @functools.cached_property
    def tree(self) -> Path:
        """A root directory with a shell in it."""
        tree = self.work / "tree"
        shutil.copytree(small_tree(), tree, symlinks=True)
        return tree

    def run(self, *argv: str, chroot: Path | None = None, network: NetworkAccess = NetworkAccess.NONE) -> str:
        return self.sandbox.run(argv, capture=True, chroot=chroot, network=network)

    def shell(self, script: str, *, chroot: Path | None = None) -> str:
        return self.run("sh", "-euc", script, chroot=chroot)

    def fails(self, script: str, *, chroot: Path | None = None) -> str:
        """What a script says that must fail."""
        with pytest.raises(CommandError) as caught:
            self.shell(script, chroot=chroot)
        return "\n".join(caught.value.details)


def view_of(work: Path) -> Path:
    """Beside what the sandbox is given, as a build has it: else it would see its own root there once more."""
    return work.with_name(f"{work.name} view")


def make_box(runner: Runner, work: Path) -> Box:
    for path in (view_of(work), work / "tmp"):
        path.mkdir(parents=True)
    own(work)
    return Box(Sandbox(runner, directory=view_of(work), writable=(work,), temporary=work / "tmp"), work)


@pytest.fixture
def box(request: pytest.FixtureRequest) -> Iterator[Box]:
    # outside of /tmp, which the sandbox replaces
    work = scratch() / "sandbox" / request.node.name.replace("/", "-")
    work.mkdir(parents=True)
    with Runner(work / "log") as runner:
        yield make_box(runner, work / "wörk dir")


@functools.cache
def small_tree() -> Path:
    """A few of the host's programs with their libraries."""
    root = scratch() / "sandbox-tree"
    if not root.exists():  # a test may have made it in a process of its own
        new = root.with_name("sandbox-tree.new")
        (new / "etc").mkdir(parents=True)
        copy_programs(new, ("sh", "cat", "env", "ls", "touch", "stat", "sleep"))
        new.rename(root)
    return root


@dataclass(frozen=True)
class Mount:
    point: str
    writable: bool
    kind: str


def read_mounts(text: str) -> list[Mount]:
    """The lines of a mountinfo, proc(5)."""
    found = []
    for line in text.splitlines():
        before, after = (part.split() for part in line.split(" - "))
        options = {*before[5].split(","), *after[2].split(",")}
        point = before[4].encode().decode("unicode_escape").encode("latin-1").decode()
        found.append(Mount(point, "ro" not in options, after[0]))
    return found


def host_mounts() -> str:
    return Path("/proc/self/mountinfo").read_text(encoding="utf-8")


@pytest.mark.inside
def test_of_the_host_only_the_given_directories_can_be_written(box: Box) -> None:
    mounts = read_mounts(box.run("cat", "/proc/self/mountinfo"))
    writable = {mount.point for mount in mounts if mount.writable}
    assert str(box.work) in writable
    assert writable - OWN_MOUNTS == {str(box.work)}


@pytest.mark.inside
@pytest.mark.parametrize("path", ["/", "/etc", "/usr", "/var", "/root", "/sys", "/var/tmp", "/boot", "/home"])
def test_the_host_cannot_be_written(path: str, box: Box) -> None:
    """Asked of access(2), which says EROFS to root too and changes nothing where the sandbox is broken."""
    code = f"import os; print(os.access({path!r}, os.W_OK), os.access({str(box.work)!r}, os.W_OK))"
    assert box.run(PYTHON, "-c", code) == "False True\n"


@pytest.mark.inside
def test_a_given_directory_opens_nothing_beside_it(box: Box) -> None:
    beside = box.work.parent / "beside"
    assert "Read-only" in box.fails(f"echo x > '{beside}'")
    assert not beside.exists()


@pytest.mark.inside
def test_what_is_written_to_a_given_directory_stays(box: Box) -> None:
    box.shell(f"echo content > '{box.work}/file'")
    assert (box.work / "file").read_text(encoding="ascii") == "content\n"
    assert (box.work / "file").stat().st_mode & 0o777 == 0o644


@pytest.mark.inside
def test_umask_and_environment_do_not_come_from_the_host(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_HOST", "1")
    monkeypatch.setenv("LD_PRELOAD", "")
    umask = os.umask(0o077)
    try:
        assert box.shell("umask").strip() == "0022"
        lines = box.run("env").splitlines()
        in_tree = box.run("env", chroot=box.tree).splitlines()
    finally:
        os.umask(umask)
    clean = {f"{name}={value}" for name, value in CLEAN_ENVIRONMENT.items()}
    assert set(lines) == clean | {f"TMPDIR={box.work}/tmp"}
    # in a tree the path would mean nothing
    assert set(in_tree) == clean


@pytest.mark.inside
def test_the_environment_of_a_sandbox_and_of_a_command_is_added(box: Box) -> None:
    sandbox = replace(box.sandbox, environment={"A": "sandbox", "B": "sandbox"})
    lines = sandbox.run(["env"], env={"B": "command", "TMPDIR": "/tmp"}, capture=True).splitlines()
    assert {"A=sandbox", "B=command", "TMPDIR=/tmp"} <= set(lines)


@pytest.mark.inside
def test_temporary_files_lie_in_the_work_directory(box: Box) -> None:
    name = Path(box.run("mktemp").strip())
    assert name.parent == box.work / "tmp"
    assert name.exists()


@pytest.mark.inside
def test_tmp_and_run_are_fresh(box: Box) -> None:
    for directory in ("/tmp", "/run"):
        made = Path(directory, "diskless-test-of-sandbox")
        made.write_bytes(b"of the host")
        try:
            assert box.shell(f"ls -A {directory}; echo x > {directory}/inside") == ""
        finally:
            made.unlink()
        assert not Path(directory, "inside").exists()
    modes = box.run("stat", "-c", "%a", "/tmp", "/run").split()
    assert modes == ["1777", "755"]


@pytest.mark.inside
def test_dev_is_minimal(box: Box) -> None:
    links = {"ptmx", "fd", "stdin", "stdout", "stderr"}
    for chroot in (None, box.tree):
        assert set(box.run("ls", "-A", "/dev", chroot=chroot).split()) == {*DEVICES, *links, "pts", "shm"}
        assert box.run("ls", "-A", "/dev/pts", "/dev/shm", chroot=chroot).split() == ["/dev/pts:", "ptmx", "/dev/shm:"]
        box.shell("echo x > /dev/null; echo x > /dev/zero; cat /dev/null", chroot=chroot)
        box.fails("echo x > /dev/full", chroot=chroot)
    kinds = box.run("stat", "-L", "-c", "%F", *(f"/dev/{name}" for name in DEVICES)).splitlines()
    assert set(kinds) == {"character special file"}


@pytest.mark.inside
def test_a_terminal_can_be_made(box: Box) -> None:
    code = "import os; a, b = os.openpty(); print(os.ttyname(b)); os.write(b, b'x'); print(os.read(a, 1))"
    assert box.run(PYTHON, "-c", code).split() == ["/dev/pts/0", "b'x'"]


@pytest.mark.inside
def test_sys_is_read_only_in_a_tree(box: Box) -> None:
    mounts = read_mounts(box.run("cat", "/proc/self/mountinfo", chroot=box.tree))
    system = [mount for mount in mounts if mount.point == "/sys" or mount.point.startswith("/sys/")]
    assert system
    assert not [mount for mount in system if mount.writable]
    assert "Read-only" in box.fails("touch /sys/kernel", chroot=box.tree)


@pytest.mark.inside
def test_a_tree_has_mounts_of_its_own_and_keeps_none(box: Box) -> None:
    mounts = {mount.point: mount for mount in read_mounts(box.run("cat", "/proc/self/mountinfo", chroot=box.tree))}
    assert {"/", "/proc", "/sys", "/dev", "/run", "/tmp"} <= set(mounts)
    for name in ("proc", "sys", "dev", "run", "tmp"):
        assert list((box.tree / name).iterdir()) == []


@pytest.mark.inside
def test_a_tree_in_a_given_directory_can_be_written(box: Box) -> None:
    box.shell("echo changed > /etc/file; echo x > /tmp/a; echo x > /run/b", chroot=box.tree)
    assert (box.tree / "etc/file").read_text(encoding="ascii") == "changed\n"
    assert list((box.tree / "tmp").iterdir()) == list((box.tree / "run").iterdir()) == []


@pytest.mark.inside
def test_a_tree_sees_nothing_of_the_host(box: Box) -> None:
    (box.tree / "etc/mark").write_bytes(b"tree")
    assert box.run("cat", "/etc/mark", chroot=box.tree) == "tree"
    assert "No such file" in box.fails(f"ls '{box.work}'", chroot=box.tree)
    assert "No such file" in box.fails("ls /usr/share", chroot=box.tree)


@pytest.mark.inside
def test_a_prepared_tree_is_mounted_and_not_entered(box: Box) -> None:
    """For pacman, which enters the tree itself and wants it to be a mount point."""
    sandbox = replace(box.sandbox, prepared=box.tree)
    listed = sandbox.run(["cat", "/proc/self/mountinfo"], capture=True)
    points = {line.split()[4].replace("\\040", " ") for line in listed.splitlines()}
    assert {f"{box.tree}{name}" for name in ("", "/proc", "/sys", "/dev", "/run", "/tmp")} <= points
    assert sandbox.run(["sh", "-c", "echo ${TMPDIR-none}"], capture=True) == "none\n"
    assert not mounts_below(box.tree)


@pytest.mark.inside
def test_processes_of_the_host_are_not_seen(box: Box) -> None:
    pids = [int(name) for name in box.run("ls", "/proc").split() if name.isdigit()]
    assert len(pids) == 2
    assert min(pids) == 1
    command = box.run("cat", "/proc/1/cmdline").split("\0")
    assert command[1:3] == ["-I", "-S"]


@pytest.mark.inside
def test_host_name_and_ipc_are_its_own(box: Box) -> None:
    name = socket.gethostname()
    assert box.run("cat", "/proc/sys/kernel/hostname").strip() == "localhost"
    assert socket.gethostname() == name
    for namespace in ("mnt", "pid", "ipc", "uts", "net"):
        assert box.run("readlink", f"/proc/self/ns/{namespace}").strip() != str(
            Path(f"/proc/self/ns/{namespace}").readlink()
        )


def interfaces(text: str) -> set[str]:
    return {line.partition(":")[0].strip() for line in text.splitlines() if ":" in line}


@pytest.mark.inside
def test_there_is_no_network_unless_asked_for(box: Box) -> None:
    assert interfaces(box.run("cat", "/proc/net/dev")) == {"lo"}
    code = "import socket; s = socket.socket(); s.settimeout(5); print(s.connect_ex(('192.0.2.77', 9)))"
    assert os.strerror(int(box.run(PYTHON, "-c", code))) == "Network is unreachable"
    shared = box.run("cat", "/proc/net/dev", network=NetworkAccess.HOST)
    assert interfaces(shared) == interfaces(Path("/proc/net/dev").read_text(encoding="ascii"))


@pytest.mark.inside
def test_standard_input_is_empty(box: Box) -> None:
    assert box.run("cat") == ""


@pytest.mark.inside
def test_directories_below_tmp_can_be_given_to_read(box: Box, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "file").write_bytes(b"content")
    sandbox = replace(box.sandbox, readable=(tmp_path,))
    assert sandbox.run(["cat", str(tmp_path / "file")], capture=True) == "content"
    with pytest.raises(CommandError) as caught:
        sandbox.run(["touch", str(tmp_path / "new")])
    assert "Read-only" in "\n".join(caught.value.details)
    assert sandbox.run(["cat", "/run/given/file"], capture=True, mounts={"/run/given": tmp_path}) == "content"


@pytest.mark.inside
@pytest.mark.parametrize("hidden", ["/tmp", "/run", "/dev/shm"])
def test_given_directories_are_found_behind_links(hidden: str, box: Box) -> None:
    """As a mirror on a removable disk is, /srv/mirror -> /run/media/USER/DISK/mirror, or a directory behind two."""
    with tempfile.TemporaryDirectory(dir=hidden) as name:
        real, link, second = Path(name, "disk/mirror"), box.work.parent / "link", Path(name, "second")
        real.mkdir(parents=True)
        (real / "file").write_bytes(b"content")
        link.symlink_to(real.parent)
        second.symlink_to(link)
        for given in (real, link / "mirror", second / "mirror"):
            sandbox = replace(box.sandbox, readable=(given,))
            assert sandbox.run(["cat", str(given / "file")], capture=True) == "content"
            writing = replace(box.sandbox, writable=(*box.sandbox.writable, given))
            writing.run(["sh", "-c", 'echo x >> "$0/written"', str(given)])
        assert (real / "written").read_bytes() == b"x\n" * 3


@pytest.mark.inside
def test_a_file_below_tmp_is_given_alone(box: Box, tmp_path: Path) -> None:
    for name in ("given", "beside"):
        (tmp_path / name).write_bytes(b"content")
    sandbox = replace(box.sandbox, readable=(tmp_path / "given",))
    assert sandbox.run(["cat", str(tmp_path / "given")], capture=True) == "content"
    assert sandbox.run(["ls", str(tmp_path)], capture=True) == "given\n"


@pytest.mark.parametrize("how", ["readable", "writable", "mounted", "mounted in a tree"])
@pytest.mark.parametrize("place", ["below-tmp", "elsewhere"])
def test_what_is_mounted_below_a_given_directory_is_there(place: str, how: str, box: Box, tmp_path: Path) -> None:
    """As the pool of a mirror on a disk of its own is; a user namespace may not show a directory without it."""
    shutil.copytree(small_tree(), box.work / "tree", symlinks=True)
    own(box.work / "tree")
    mirror = tmp_path if place == "below-tmp" else box.work.parent
    mirror.chmod(0o755)
    (mirror / "pool").mkdir()
    result = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", SUBMOUNT, mirror, box.work, how],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert result.stderr == ""
    assert result.stdout == "content"


# in a mount namespace of its own: something is mounted below a directory that a sandbox is given to read
SUBMOUNT = """
import subprocess, sys
from pathlib import Path
from builder.system.run import Runner
from builder.system.sandbox.sandbox import Sandbox
from builder.system.userns.ids import find_ids
from builder.system.userns.inside import call_inside
mirror, work, how = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
pool = mirror / "pool"
subprocess.run(["mount", "-t", "tmpfs", "none", pool], check=True)
(pool / "file").write_bytes(b"content")
with Runner(work / "log") as runner:
    read = {"readable": (mirror,)} if how == "readable" else {}
    written = (work, mirror) if how == "writable" else (work,)
    sandbox = Sandbox(runner, work.with_name(f"{work.name} view"), written, work / "tmp", **read)
    mounts = {"/run/mirror": mirror} if how.startswith("mounted") else {}
    path = "/run/mirror/pool/file" if mounts else str(pool / "file")
    tree = work / "tree" if how == "mounted in a tree" else None
    seen = call_inside(
        find_ids(), lambda: sandbox.run(["cat", path], capture=True, mounts=mounts, chroot=tree)
    )
    sys.stdout.write(seen)
"""


@pytest.mark.inside
def test_the_status_of_a_command_is_told(box: Box) -> None:
    for script, status in (("exit 3", 3), ("kill -KILL $$", 137), ("exit 125", 125)):
        with pytest.raises(CommandError) as caught:
            box.shell(script)
        assert caught.value.status == status
    with pytest.raises(CommandError, match="no-such-program") as caught:
        box.run("no-such-program")
    assert caught.value.status == 127


@pytest.mark.inside
def test_a_sandbox_that_cannot_be_made_is_the_hosts_fault(box: Box) -> None:
    missing = box.work.parent / "missing"
    with pytest.raises(HostError) as caught:
        replace(box.sandbox, writable=(missing,)).run(["true"])
    assert str(missing) in "\n".join(caught.value.details)


def processes_with(mark: str) -> list[str]:
    """The command lines that hold `mark`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if mark in command:
            found.append(command)
    return found


def wait_for(condition: Callable[[], bool]) -> bool:
    """Whether a condition comes true; only a broken product makes this wait long."""
    for _ in range(300):
        if condition():
            return True
        time.sleep(0.1)
    return False


@pytest.mark.inside
def test_what_a_command_leaves_running_ends_with_it(box: Box) -> None:
    mark = f"86400.{os.getpid()}1"
    box.shell(f"setsid sleep {mark} & trap '' TERM; (setsid sh -c 'trap \"\" TERM HUP; sleep {mark}' &) ; sleep 0.1")
    assert wait_for(lambda: processes_with(f"sleep {mark}") == [])


@pytest.mark.inside
def test_the_hosts_mounts_are_as_before(box: Box) -> None:
    before = host_mounts()
    box.run("true")
    box.run("ls", chroot=box.tree)
    box.fails("mount -t tmpfs none /tmp && mount -t tmpfs none /mnt && exit 7")
    assert host_mounts() == before
    assert list(view_of(box.work).iterdir()) == []


@pytest.mark.inside
def test_a_mount_inside_ends_inside(box: Box) -> None:
    before = host_mounts()
    box.shell(f"mkdir '{box.work}/point'; mount -t tmpfs none '{box.work}/point'; echo x > '{box.work}/point/file'")
    assert list((box.work / "point").iterdir()) == []
    assert host_mounts() == before


KILLED = """
import json, sys
from pathlib import Path
from builder.system.run import Runner
from builder.system.sandbox.sandbox import Sandbox
from builder.system.userns.ids import find_ids
from builder.system.userns.inside import call_inside
work, chroot, mark = Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
view = work.with_name(f"{work.name} view")
sandbox = Sandbox(Runner(work / "log"), directory=view, writable=(work,), temporary=work / "tmp")
script = "trap '' TERM HUP INT; sleep $0 & echo started; sleep $0"
sandbox.runner._on_line = lambda line: print(line, flush=True)
call_inside(find_ids(), lambda: sandbox.run(["sh", "-c", script, mark], chroot=chroot and Path(chroot)))
"""


@pytest.mark.parametrize("in_tree", [False, True], ids=["outside", "in-a-tree"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_nothing_is_left_when_the_outer_process_is_killed(number: signal.Signals, in_tree: bool, box: Box) -> None:
    before, mark = host_mounts(), f"86400.{os.getpid()}{int(number)}{int(in_tree)}"
    chroot = json.dumps(str(box.tree) if in_tree else None)
    own(box.work)
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, box.work, chroot, mark], cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("$ sh -c")  # what runs is said first
            assert process.stdout.readline() == "started\n"
            assert wait_for(lambda: len(processes_with(f"sleep {mark}")) >= 2)
            process.send_signal(number)
            process.wait()
        finally:
            process.kill()
    assert wait_for(lambda: processes_with(mark) == [])
    assert host_mounts() == before
    assert list(view_of(box.work).iterdir()) == []


# in a mount namespace of its own: `source` is mounted at `point`, below `top`, which is to be removed
REMOVAL = """
import os, subprocess, sys
from pathlib import Path
from builder.errors import DisklessError
from builder.system.guarded.removal import remove_tree
from builder.system.tree import Tree
from builder.system.workspace import remove_orphans
what, top, source, point = sys.argv[1], *map(Path, sys.argv[2:])
subprocess.run(["mount", "--bind", source, point], check=True)
try:
    if what == "tree":
        Tree(top).remove("/below")
    elif what == "clear":
        Tree(top).clear("/")
    elif what == "orphans":
        warned = []
        remove_orphans(top.parent, warned.append)
        sys.exit("".join(warned) and (print(warned[0]) or 3))
    else:
        remove_tree(top)
except DisklessError as error:
    print(error.message)
    sys.exit(error.exit_code)
except OSError as error:
    print(error)
    sys.exit(1)
"""


NAMES = ("plain", "two words", "ümläut", "new\nline", "back\\slash")


@pytest.mark.parametrize(
    ("what", "name"),
    [*((what, name) for what in ("remove_tree", "orphans") for name in NAMES), ("tree", "plain"), ("clear", "plain")],
)
def test_nothing_is_deleted_across_a_mount_point(what: str, name: str, tmp_path: Path) -> None:
    top, source = tmp_path / f"build-{name}", tmp_path / "source"
    point = top / "below" / "mounted"
    point.mkdir(parents=True)
    source.mkdir()
    (source / "precious").write_bytes(b"")
    result = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", REMOVAL, what, top, source, point],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (source / "precious").exists()
    assert result.returncode != 0
    assert result.stderr == ""
    if what in ("remove_tree", "orphans"):
        assert result.returncode == HostError.exit_code
        assert str(point) in result.stdout
        assert point.is_dir()


def test_the_init_program_needs_nothing_but_the_standard_library() -> None:
    """It runs with -I -S, and its imports must be over before the old root goes away."""
    code = "import runpy, sys; sys.argv = ['x']; runpy.run_path('builder/system/sandbox/init.py', run_name='x')"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], cwd=ROOT, check=True)


@pytest.mark.inside
def test_of_the_host_programs_are_there_and_nothing_else(box: Box) -> None:
    for path in (box.work.parent / "beside", Path("/var/tmp/diskless-test-of-sandbox"), ROOT / "pyproject.toml"):
        created = not path.exists()
        path.touch()
        assert "No such file" in box.fails(f"cat '{path}'")
        if created:
            path.unlink()
    assert set(box.run("ls", "/").split()) <= {
        "bin",
        "sbin",
        "dev",
        "etc",
        "proc",
        "run",
        "sys",
        "tmp",
        "usr",
        "var",
    } | {
        "lib",
        "lib32",
        "lib64",
        "libx32",
        *box.work.parts[1:2],
    }


def test_a_directory_that_others_may_not_read_is_named(tmp_path: Path) -> None:
    require_open([Path("/usr")])
    tmp_path.chmod(0o750)
    with pytest.raises(HostError, match="not open to others") as caught:
        require_open([tmp_path])
    assert f"chmod -R o+rX {tmp_path}" == caught.value.hint
