"""What forged file handles reach through nfs-ganesha, and what keeps them out.

Each machine is a disk image with namespaces of its own, in which nothing of this host can be written: see
tests/attacker/machine.py. HOSTILE_SECONDS and HOSTILE_SEED say how long the generator runs, and with which handles.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import Any

import pytest

from tests.attacker.machine import Setup
from tests.attacker.plan import Report
from tests.images import ROOT
from tests.require import needs_root, needs_tool
from tests.scratch import scratch

pytestmark = [
    needs_root,
    needs_tool("ganesha.nfsd", "rpcbind", "unshare", "mkfs.ext4", "ip"),
    pytest.mark.root,
]
_ALONE = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--propagation", "private")
SECONDS = float(os.environ.get("HOSTILE_SECONDS", "5"))
LONG_SECONDS = float(os.environ.get("HOSTILE_SECONDS", "1800"))
SEED = int(os.environ.get("HOSTILE_SEED", "1"))
FILESYSTEMS = [
    "ext4",
    pytest.param("xfs", marks=[needs_tool("mkfs.xfs"), pytest.mark.full]),
    pytest.param("btrfs", marks=[needs_tool("mkfs.btrfs"), pytest.mark.full]),
]
NAME = "/srv/diskless"


@dataclass(frozen=True)
class Outcome:
    """What the attacker reports, and what an honest client of NFS 3 or 4 should find."""

    report: Report
    expected: dict[str, list[str]]

    def reached(self, call: str) -> str:
        """The breaches of one call."""
        return "\n".join(line for line in self.report.breaches if line.split(": ")[0].endswith(call))


@functools.cache
def attack(**setup: Any) -> Outcome:
    """A new machine with nfs-ganesha, attacked; nothing of it is left."""
    work = tempfile.mkdtemp(prefix="machine-", dir=scratch())
    text = Setup(work, **{"seed": SEED, **setup}).to_json()
    command = [*_ALONE, sys.executable, "-m", "tests.attacker.ganesha_machine", text]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, encoding="utf-8", stdin=subprocess.DEVNULL, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    shutil.rmtree(work)
    return Outcome(Report(**said["report"]), said["expected"])


def assert_holds(outcome: Outcome) -> None:
    """No handle led to anything that an honest client does not get, and nothing was changed."""
    report = outcome.report
    # nfs-ganesha answers these two to whoever asks: of the share's own top, which has the number of every other top
    answered = ("3 as nobody FSINFO", "3 as nobody GETACL")
    assert [line for line in report.breaches if not line.split(": ")[0].endswith(answered)] == [], report.count
    assert (report.changed, report.faults, report.bare, report.crossed) == ([], [], [], [])
    assert set(report.honest) == {"3", "4.0", "4.1", "4.2"}, report.notes
    # it did attack: most answers are refusals of handles
    assert report.statuses["STALE"] > 10_000
    assert report.statuses["success"] > 100


@pytest.mark.parametrize("filesystem", FILESYSTEMS)
def test_forged_handles_reach_nothing_but_the_shares(filesystem: str) -> None:
    outcome = attack(confined="parent", filesystem=filesystem, seconds=SECONDS)
    assert_holds(outcome)
    assert outcome.report.generated > 500


@pytest.mark.parametrize("filesystem", FILESYSTEMS)
def test_an_honest_client_finds_the_shares_and_nothing_else(filesystem: str) -> None:
    outcome = attack(confined="parent", filesystem=filesystem, seconds=SECONDS)
    for version, found in outcome.report.honest.items():
        assert found == outcome.expected[version[0]]


def test_neither_manifest_nor_index_nor_kernel_can_be_mounted() -> None:
    assert attack(confined="parent", filesystem="ext4", seconds=SECONDS).report.given_away == []


def test_a_share_of_one_client_is_closed_to_another() -> None:
    assert_holds(attack(confined="parent", other=True))


@pytest.mark.full
def test_half_an_hour_of_hostile_handles() -> None:
    outcome = attack(confined="parent", other=True, seconds=LONG_SECONDS, seed=SEED + 1)
    assert_holds(outcome)
    assert outcome.report.generated > 200 * LONG_SECONDS


# What follows is possible: so the attacker can do what it could not do above, and these layouts do not hold.


def test_exported_directories_give_the_server_away() -> None:
    outcome = attack(layout="plain")
    assert "/etc/shadow: file" in outcome.reached("NFSv3 reached")
    assert f"{NAME}/site.yml: success" in outcome.reached("WRITE")
    assert {"/etc/shadow", f"{NAME}/site.yml"} <= set(outcome.report.changed)


def test_file_systems_of_their_own_are_not_enough_for_nfs_ganesha() -> None:
    """`..` of a file system's top leads it into the next one, which it takes for a part of the export."""
    outcome = attack(layout="own")
    assert "up, down to /etc/shadow: " in "\n".join(outcome.report.breaches)
    assert {"/etc/shadow", f"{NAME}/site.yml"} <= set(outcome.report.changed)


@pytest.mark.parametrize("layout", ["bind", pytest.param("subvolume", marks=needs_tool("btrfs", "mkfs.btrfs"))])
def test_a_mount_point_need_not_be_a_file_system(layout: str) -> None:
    outcome = attack(layout=layout, confined="parent")
    assert outcome.report.count > 10
    if layout == "bind":
        assert " of /etc/shadow: file" in outcome.reached("NFSv3 reached")
    else:  # the one share through the other
        assert f" of {NAME}/ro: success" in outcome.reached("REMOVE")


@pytest.mark.full
def test_in_a_root_of_its_own_nfs_ganesha_mixes_its_exports() -> None:
    """What is exported read-only can only be read then, but a share of one client is every client's."""
    alone = attack(confined="root").report
    assert (alone.breaches, alone.changed, alone.faults) == ([], [], [])
    assert alone.crossed != []
    other = attack(confined="root", other=True).report
    assert any(path.startswith(f"{NAME}/other/") for path in other.changed)
    assert not any(path.startswith("/etc/") for path in other.changed)
