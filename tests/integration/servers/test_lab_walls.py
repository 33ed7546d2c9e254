"""Whoever takes a server of a lab over, or QEMU, has the lab: nothing of the host is written to, no secret is read."""

from __future__ import annotations

import ctypes
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from builder.boot import Bench, BootOptions, open_bench
from builder.bootlab.namespace import Completed, Namespace, Service
from builder.bootlab.nfs import Ganesha
from builder.bootlab.settings import (
    DNSMASQ_USER,
    GANESHA_USER,
    MOUNTD_USER,
    QEMU_USER,
    RPCBIND_STARTER,
    RPCBIND_UID,
    WEB_STARTER,
    WEB_UID,
)
from builder.bootlab.walls.identity import Identity
from builder.bootlab.walls.view import View
from builder.model.share import RW, TOPS
from builder.progress.progress import Progress
from builder.system.private_mounts import private_mounts
from tests.confined import confined
from tests.images import ROOT
from tests.require import needs_root, needs_tool
from tests.scratch import scratch
from tests.versions import make_version

pytestmark = [
    needs_root,
    needs_tool("dnsmasq", "ganesha.nfsd", "rpcbind", "ip", "qemu-system-x86_64", "mkfs.ext4", "python3"),
    pytest.mark.root,
]
ATTACKER = (ROOT / "tests/attacker.py").read_text("utf-8")
CAPABILITIES = {
    "CHOWN": 0,
    "DAC_OVERRIDE": 1,
    "DAC_READ_SEARCH": 2,
    "FOWNER": 3,
    "FSETID": 4,
    "SETGID": 6,
    "SETUID": 7,
    "NET_BIND_SERVICE": 10,
    "NET_ADMIN": 12,
    "NET_RAW": 13,
    "MKNOD": 27,
}
# what runs, by the name of its log: the user, all that it can do, and all that it could ever get
RUNS: dict[str, tuple[int, tuple[str, ...], tuple[str, ...]]] = {
    "dnsmasq": (DNSMASQ_USER.uid, DNSMASQ_USER.capabilities, DNSMASQ_USER.capabilities),
    "nfs": (0, GANESHA_USER.capabilities, GANESHA_USER.capabilities),
    "http": (WEB_UID, (), WEB_STARTER.capabilities),
    "rpcbind": (RPCBIND_UID, (), RPCBIND_STARTER.capabilities),
    "qemu-tap0": (QEMU_USER.uid, (), ()),
}
IDENTITIES = {
    "ganesha": GANESHA_USER,
    "mountd": MOUNTD_USER,
    "rpcbind": RPCBIND_STARTER,
    "http": WEB_STARTER,
    "dnsmasq": DNSMASQ_USER,
    "qemu": QEMU_USER,
}
# file systems of which nothing is the host's, and the one that has no handles
OWN = {"overlay", "tmpfs", "proc", "ext4"}
PLACES = (
    *("/", "/boot", "/dev", "/dev/net", "/dev/shm", "/etc", "/etc/cron.d", "/home", "/lib/modules", "/media", "/mnt"),
    *("/opt", "/proc", "/root", "/srv", "/sys", "/sys/fs/cgroup", "/usr", "/usr/bin", "/usr/local/bin", "/var"),
    *("/var/cache", "/var/lib", "/var/log", "/var/spool", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe"),
    *("/proc/sysrq-trigger", "/dev/kmsg", "/dev/mem"),
)
SECRETS = (
    "/etc/shadow",
    "/etc/gshadow",
    "/etc/ssh/ssh_host_ed25519_key",
    "/root/.ssh",
    "/proc/1/environ",
    "/proc/kcore",
)


@dataclass(frozen=True)
class Running:
    bench: Bench
    work: Path

    @property
    def share(self) -> Path:
        """What is exported."""
        return self.bench.store.root / TOPS[self.bench.manifest.root.mode]

    def service(self, name: str) -> Service:
        return self.bench.lab.namespace._services[name]

    def show(self, name: str, what: str) -> str:
        done = self.bench.lab.run(["cat", f"/proc/{self.service(name).pid}/{what}"])
        assert done.status == 0, done.output
        return done.output

    def as_if(self, identity: Identity, program: str, *arguments: str) -> Completed:
        command = ["python3", "-I", "-S", "-c", program, *arguments]
        return self.bench.lab.namespace.run(command, identity=identity)

    def attack(self, identity: Identity) -> dict[str, list[str]]:
        store = self.bench.store
        inside = [str(path) for path in (store.boot, self.share, "/run", "/tmp", "/var/tmp")]
        wishes = {
            "places": [*PLACES, str(self.work), str(self.work.parent), str(ROOT), "/var/tmp/..", *inside],
            "files": [*SECRETS, str(self.work / "secret"), str(ROOT / "pyproject.toml")],
            "handles": [handle_of(path) for path in (Path("/"), Path("/etc/shadow"), self.work, Path("/dev"))],
            "disks": host_devices(),
            "device": disk(),
        }
        done = self.as_if(identity, ATTACKER, json.dumps(wishes))
        assert done.status == 0, done.output
        found: dict[str, list[str]] = json.loads(done.output)
        return found


def handle_of(path: Path) -> tuple[int, str]:
    """The type of a file's handle, and what is in it, name_to_handle_at(2)."""
    buffer = ctypes.create_string_buffer((128).to_bytes(4, "little"), 8 + 128)
    mount = ctypes.c_int()
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.name_to_handle_at(-100, os.fsencode(path), buffer, ctypes.byref(mount), 0) == 0
    size, kind = int.from_bytes(buffer.raw[:4], "little"), int.from_bytes(buffer.raw[4:8], "little")
    return kind, buffer.raw[8 : 8 + size].hex()


def host_devices() -> list[int]:
    """Of all that the host has mounted."""
    lines = Path("/proc/1/mountinfo").read_text("utf-8", "surrogateescape").splitlines()
    return [os.makedev(*map(int, line.split()[2].split(":"))) for line in lines]


def disk() -> int:
    """That of the working directory, or any."""
    device = scratch().stat().st_dev
    return device if os.major(device) else os.makedev(7, 0)


@pytest.fixture(scope="module", params=["rw", "overlay"])
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    """A lab with every server, and a guest that finds no kernel."""
    work = scratch() / f"walls-{request.param}"
    version = make_version(work / "output", mode=request.param)
    (work / "secret").write_text("secret", "ascii")
    (work / "secret").chmod(0o644)
    with open_bench(version, BootOptions(work=work / "boot"), Progress()) as bench:
        guest = bench.power_on(work / "console.log")
        while "PXE" not in guest.console.text:  # from then on QEMU is as it stays
            assert guest.is_running, guest._service.last_lines()
            bench.lab.namespace.poll(0.2)
        yield Running(bench, work)


def status(running: Running, name: str) -> dict[str, str]:
    return dict(re.findall(r"^(\w+):\t(.*)$", running.show(name, "status"), re.M))


def mask(names: tuple[str, ...]) -> int:
    return sum(1 << CAPABILITIES[name] for name in names)


@pytest.mark.parametrize("name", RUNS)
def test_a_server_has_no_privilege_that_is_not_listed(running: Running, name: str) -> None:
    if name == "nfs" and not isinstance(running.bench.lab.nfs, Ganesha):
        pytest.skip("needs nfs-ganesha: of the kernel's server only mountd is a process")
    uid, capabilities, limit = RUNS[name]
    found = status(running, name)
    assert found["Uid"].split() == found["Gid"].split() == [str(uid)] * 4
    assert found["Groups"].strip() == ""
    assert int(found["CapEff"], 16) == int(found["CapPrm"], 16) == mask(capabilities)
    assert int(found["CapBnd"], 16) == mask(limit)
    assert int(found["CapInh"], 16) == int(found["CapAmb"], 16) == (mask(capabilities) if uid else 0)
    assert found["NoNewPrivs"] == "1"
    assert found["Seccomp"] == "2"


def test_qemu_has_a_filter_of_its_own_besides(running: Running) -> None:
    assert int(status(running, "qemu-tap0")["Seccomp_filters"]) == 2


@pytest.mark.parametrize("name", RUNS)
def test_no_file_that_a_server_has_open_is_the_hosts(running: Running, name: str) -> None:
    """By one of them a server that may open files by handle would reach all of its file system, read-only or not."""
    pid = running.service(name).pid
    listed = running.bench.lab.run(["sh", "-c", f'stat -L -c "%d %F %n" /proc/{pid}/fd/*']).output
    assert listed
    disks = {str(device) for device in host_devices()}
    assert [line for line in listed.splitlines() if line.split()[0] in disks] == []


@pytest.mark.parametrize("name", RUNS)
def test_nothing_that_is_mounted_is_the_hosts(running: Running, name: str) -> None:
    lines = [line.split() for line in running.show(name, "mountinfo").splitlines()]
    kinds = {fields[4]: fields[fields.index("-") + 1] for fields in lines}
    assert set(kinds.values()) <= OWN
    assert {fields[2] for fields in lines}.isdisjoint(f"{os.major(one)}:{os.minor(one)}" for one in host_devices())
    store = running.bench.store
    assert {point for point, kind in kinds.items() if kind == "ext4"} == {
        str(path) for path in (store.boot, running.share)
    }
    options = {fields[4]: set(fields[5].split(",")) for fields in lines}
    writable = {point for point, words in options.items() if "rw" in words}
    own = {"/proc", "/run", "/tmp", "/var/tmp", "/var/lib/nfs"}
    assert writable == (own | {str(running.share)} if running.share.name == RW else own)
    assert all({"nosuid", "nodev", "noexec"} <= options[point] for point in writable)
    assert [point for point, words in options.items() if "nosuid" not in words] == []
    assert [point for point, words in options.items() if "nodev" not in words] == ["/dev"]


def test_each_export_is_a_file_system_of_its_own(running: Running) -> None:
    exports = [Path(export.directory) for export in running.bench.lab._exports]
    assert exports
    devices = {path: path.stat().st_dev for path in (running.work, running.bench.store.root, *exports)}
    assert len(set(devices.values())) == len(devices)
    assert len({os.statvfs(path).f_fsid for path in devices}) == len(devices)
    roots = {fields[4]: fields[3] for fields in map(str.split, running.show("nfs", "mountinfo").splitlines())}
    assert {path: roots[str(path)] for path in exports} == dict.fromkeys(exports, "/")
    for path in exports:
        assert path.stat().st_ino == 2  # ext4's top: of the file system, and of the export
        assert {one.name for one in path.iterdir()} <= {"lab"}


@pytest.mark.parametrize("name", IDENTITIES)
def test_who_takes_a_server_over_reaches_the_lab_and_nothing_else(running: Running, name: str) -> None:
    found = running.attack(IDENTITIES[name])
    # fresh ones, whatever lies below the host's
    own = ("/run", "/tmp", "/var/tmp", "/var/lib/nfs", str(running.share))
    assert [path for path in found.pop("written") if not any(Path(path).is_relative_to(one) for one in own)] == []
    assert found == {"readable": [], "opened": [], "devices": [], "called": []}


def test_the_attacker_would_have_been_seen(running: Running) -> None:
    """Of a lab's own things, by root of the lab, whom nobody from outside reaches."""
    share, place = running.share, str(running.share) if running.share.name == RW else "/run"
    wishes = {
        "places": [place],
        "files": [str(running.bench.store.boot)],
        "handles": [handle_of(share)],
        "disks": [share.stat().st_dev],
        "device": disk(),
    }
    done = running.bench.lab.run(["python3", "-I", "-S", "-c", ATTACKER, json.dumps(wishes)])
    assert done.status == 0, done.output
    seen = json.loads(done.output)
    assert seen["written"] == [place]
    assert seen["readable"] == [str(running.bench.store.boot)]
    assert seen["opened"] == [str(share)]
    assert "unshare(CLONE_NEWUSER)" in seen["called"]


def device_nodes() -> dict[str, tuple[int, int, int]]:
    found = {path: path.stat() for path in map(Path, ("/dev/kvm", "/dev/net/tun", "/dev/null")) if path.exists()}
    return {str(path): (info.st_mode, info.st_uid, info.st_gid) for path, info in found.items()}


IN_A_USER_NAMESPACE = """
import sys
from pathlib import Path
from builder.bootlab.namespace import Namespace
from builder.bootlab.walls.view import View
with Namespace(Path(sys.argv[1]), View()) as namespace:
    print(namespace.check(["stat", "-c", "%t:%T", "/dev/null"]))
    print(namespace.run(["sh", "-c", "echo x > /dev/null && ! echo x > /usr/x"]).status)
"""


def test_root_of_a_user_namespace_sees_the_same_and_leaves_the_hosts_devices_alone(tmp_path: Path) -> None:
    before = device_nodes()
    command = [*confined("--ids", "65536"), sys.executable, "-c", IN_A_USER_NAMESPACE, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1:3", "0"]
    assert device_nodes() == before


def test_programs_are_shown_where_there_can_be_no_overlay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel stacks two, and no more."""
    layers = [tmp_path / name for name in ("bottom", "empty", "one", "two", "lab")]
    for path in layers:
        path.mkdir()
    bottom, empty, one, two, logs = layers
    (bottom / "program").write_text("#!/bin/sh\necho ran\n", "ascii")
    (bottom / "program").chmod(0o755)
    monkeypatch.setattr("builder.bootlab.walls.view._interpreter", lambda: [str(two)])
    with private_mounts():
        for below, above in ((bottom, one), (one, two)):
            subprocess.run(["mount", "-t", "overlay", "o", "-o", f"ro,lowerdir={below}:{empty}", above], check=True)
        with Namespace(logs, View()) as namespace:
            assert namespace.check([str(two / "program")]) == "ran\n"
            shown = [line.split() for line in namespace.check(["cat", "/proc/self/mountinfo"]).splitlines()]
            (options,) = (set(fields[5].split(",")) for fields in shown if fields[4] == str(two))
            assert {"ro", "nosuid", "nodev"} <= options
            assert f"lowerdir={one}:{empty}" in next(fields[-1] for fields in shown if fields[4] == str(two))
