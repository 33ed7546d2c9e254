"""What forged file handles reach through the kernel's NFS server of a server guest."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from builder.bootlab.machine.accelerator import accelerator_arguments
from builder.bootlab.namespace import Namespace
from tests.attacker.exporting import SERVER
from tests.attacker.plan import Report
from tests.images import ROOT
from tests.require import needs_server_guest, needs_tool
from tests.scratch import scratch
from tests.serverguest.disks import Drive, make_empty, make_ext4
from tests.serverguest.guest import ServerGuest
from tests.serverguest.root import server_root

pytestmark = [*needs_server_guest, needs_tool("mkfs.btrfs"), pytest.mark.full]

SECONDS = float(os.environ.get("HOSTILE_SECONDS", "1800"))
SEED = int(os.environ.get("HOSTILE_SEED", "1"))
# the first holds the attacker
DISKS = ("/dev/vdc", "/dev/vdd", "/dev/vde")
BTRFS = ("/dev/vdf", "/dev/vdg")
STORE = "/srv/diskless"
_MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Outcome:
    """As in tests/integration/servers/test_forged_handles.py."""

    report: Report
    expected: dict[str, list[str]]


@pytest.fixture(scope="module")
def guest() -> Iterator[ServerGuest]:
    directory = scratch() / "forged-nfsd"
    directory.mkdir()
    code = directory / "code"
    shutil.copytree(ROOT / "tests/attacker", code / "tests/attacker", ignore=shutil.ignore_patterns("__pycache__"))
    (code / "tests/__init__.py").touch()
    make_ext4(directory / "code.ext4", code, room=8)
    drives = [Drive(directory / "code.ext4", read_only=True)]
    for name in ("1", "2", "3", "btrfs-1", "btrfs-2"):
        make_empty(directory / name, 400 * _MEGABYTE)
        if name.startswith("btrfs"):
            subprocess.run(["mkfs.btrfs", "-q", directory / name], check=True)
        drives.append(Drive(directory / name))
    with Namespace(directory) as namespace:
        root = server_root()
        guest = ServerGuest(namespace, "server", root, drives, accelerator_arguments(root.kernel))
        guest.check(
            "set -e; modprobe -a nfsd btrfs; mkdir /mnt/code; mount -o ro /dev/vdb /mnt/code; "
            f"ip address add {SERVER}/24 dev lo; mkdir -p /run/rpcbind /run/sendsigs.omit.d; rpcbind -w; "
            "mount -t nfsd nfsd /proc/fs/nfsd; echo 10 > /proc/fs/nfsd/nfsv4gracetime"
        )
        yield guest
        guest.cut_power()


def play(guest: ServerGuest, **scene: Any) -> Any:
    """What a scene came to."""
    text = shlex.quote(json.dumps({"seed": SEED, **scene}))
    command = f"cd /mnt/code && PYTHONDONTWRITEBYTECODE=1 python3 -m tests.attacker.kernel_machine {text} 2>&1"
    return json.loads(guest.check(command, seconds=3600 + SECONDS).splitlines()[-1])


def attack(guest: ServerGuest, **scene: Any) -> Outcome:
    """An attack in the guest."""
    said = play(guest, **scene)
    return Outcome(Report(**said["report"]), said["expected"])


def assert_holds(outcome: Outcome) -> None:
    """No handle led to anything that an honest client does not get, and nothing was changed."""
    report = outcome.report
    assert report.breaches == [], report.count
    assert (report.changed, report.faults) == ([], [])
    assert set(report.honest) >= {"3", "4.0", "4.1", "4.2"}, report.notes
    assert report.statuses["STALE"] > 5_000
    for version in ("3", "4.0", "4.1", "4.2"):
        assert report.honest[version] == outcome.expected[version[0]]


@pytest.mark.parametrize(("filesystem", "disks"), [("ext4", DISKS), ("btrfs", BTRFS)])
def test_forged_handles_reach_nothing_but_the_shares(guest: ServerGuest, filesystem: str, disks: tuple[str]) -> None:
    assert_holds(attack(guest, layout="own", filesystem=filesystem, disks=disks))


def test_neither_manifest_nor_index_nor_kernel_can_be_mounted(guest: ServerGuest) -> None:
    assert attack(guest, layout="own", disks=DISKS).report.given_away == []


def test_a_share_of_one_client_is_closed_to_another(guest: ServerGuest) -> None:
    assert_holds(attack(guest, layout="own", disks=DISKS, other=True))


def test_hostile_handles_for_half_an_hour(guest: ServerGuest) -> None:
    outcome = attack(guest, layout="own", disks=DISKS, other=True, seconds=SECONDS, seed=SEED + 1)
    assert_holds(outcome)
    assert outcome.report.generated > 10 * SECONDS
