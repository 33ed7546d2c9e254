"""The machines of `make test-hosts`, with a few of this host's programs in place of a release's."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.machine import Machine, MachineError, Places, running_machine
from tests.hosts.outside import Outside
from tests.images import ROOT, descendants, wait_until_gone
from tests.require import needs_root, needs_tool
from tests.scratch import scratch
from tests.trees import copy_programs

pytestmark = [needs_root, needs_tool("unshare", "setpriv"), pytest.mark.root]
_DIRECTORIES = ("etc/apt/apt.conf.d", "usr/sbin", "usr/local/share/ca-certificates", "srv", "root", "home/user")
_MOUNT_POINTS = ("proc", "sys", "dev", "run", "tmp")


def make_root(path: Path) -> Path:
    """What a machine needs of a root."""
    copy_programs(path, ("sh", "bash", "cat", "id", "ls", "readlink", "sleep", "env"))
    for name in (*_DIRECTORIES, *_MOUNT_POINTS):
        (path / name).mkdir(parents=True, exist_ok=True)
    for directory in (path, *(entry for entry in path.rglob("*") if entry.is_dir())):
        directory.chmod(0o755)
    os.chown(path / "home/user", 1000, 1000)
    update = path / "bin/update-ca-certificates"
    update.write_text("#!/bin/sh\n", encoding="ascii")
    update.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def base() -> Path:
    return make_root(scratch() / "hosts-base")


@pytest.fixture
def places(request: pytest.FixtureRequest) -> Iterator[Places]:
    directory = scratch() / "hosts" / request.node.name
    places = Places(directory)
    places.logs.mkdir(parents=True)
    yield places
    shutil.rmtree(directory)


def outside(*paths: Path) -> Outside:
    return Outside({"PIP_INDEX_URL": "https://pip.example"}, "[global]\n", 'Acquire::Retries "3";\n', paths)


def said(machine: Machine, line: str, user: str = "root", umask: int = 0o022) -> list[str]:
    before = machine.log.stat().st_size
    assert machine.run(line, user, umask=umask) == 0
    return machine.log.read_text(encoding="utf-8")[before:].splitlines()


def test_a_machine_is_its_own(base: Path, places: Places, tmp_path: Path) -> None:
    given, shared = tmp_path / "given", tmp_path / "shared"
    given.write_text("content", encoding="ascii")
    shared.mkdir()
    with running_machine(places, "bookworm", base, outside(shared), places.logs / "log", [given]) as machine:
        assert said(machine, "cat /srv/given /etc/hostname") == ["contentstranger"]
        assert said(machine, f"ls -d {shared} /dev/null /dev/pts/ptmx") == ["/dev/null", "/dev/pts/ptmx", str(shared)]
        assert "Read-only" in said(machine, f"echo x 2>&1 > {shared}/x || true")[0]
        assert len(said(machine, "echo /proc/[0-9]*")[0].split()) == 2
        for kind in ("mnt", "pid", "ipc", "uts"):
            own = Path(f"/proc/self/ns/{kind}").readlink()
            assert said(machine, f"readlink /proc/self/ns/{kind}") != [str(own)]
        assert said(machine, f"ls {shlex.quote(str(ROOT))} 2>&1 || true")[0].endswith("No such file or directory")


def test_somebody_has_just_logged_in(base: Path, places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/ours")
    with running_machine(places, "bookworm", base, outside(), places.logs / "log", []) as machine:
        assert said(machine, "id -u; umask; cd; pwd", "user", umask=0o077) == ["1000", "0077", "/home/user"]
        environment = said(machine, "env")
        assert "PIP_INDEX_URL=https://pip.example" in environment
        assert not [line for line in environment if line.startswith("PYTHONPATH")]


def test_what_fails_is_told(base: Path, places: Places) -> None:
    with running_machine(places, "bookworm", base, outside(), places.logs / "log", []) as machine:
        assert machine.run("exit 7", "root") == 7
        assert machine.run("kill -KILL $$", "root") == 137
        with pytest.raises(MachineError, match="no-such-program: exit status 127"):
            machine.check("no-such-program")


_KILLED = """
import sys
from pathlib import Path
from tests.hosts.machine import Places, running_machine
from tests.hosts.outside import Outside
places = Places(Path(sys.argv[1]))
outside, log = Outside({}, "", "", ()), places.logs / "log"
with running_machine(places, "bookworm", Path(sys.argv[2]), outside, log, []) as machine:
    print("runs", flush=True)
    machine.run("trap '' TERM HUP INT; sleep 86400 & sleep 86400", "root")
"""


def test_nothing_is_left_when_the_tool_is_killed(base: Path, places: Places) -> None:
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    command = [sys.executable, "-c", _KILLED, str(places.directory), str(base)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"runs\n"
        running = descendants(process.pid)
        assert running
        process.kill()
    assert wait_until_gone(running) == set()
    assert Path("/proc/self/mountinfo").read_text(encoding="utf-8") == mounts
    left = places.directory / "machines"
    assert list(left.glob("build-*"))
    with running_machine(places, "bookworm", base, outside(), places.logs / "log", []):
        assert len(list(left.glob("build-*"))) == 1
