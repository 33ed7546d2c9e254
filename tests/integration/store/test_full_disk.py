"""What frees space needs none: rollback, refresh and prune on file systems without a free byte, or a free inode."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.images import ROOT
from tests.require import needs_root, needs_tool
from tests.scratch import new_place
from tests.stores import version

pytestmark = [needs_root, needs_tool("mkfs.xfs", "mkfs.btrfs", "strace"), pytest.mark.root]
DISKS = [(kind, lack) for kind in ("ext4", "xfs", "btrfs", "tmpfs") for lack in ("bytes", "inodes")]
PARTS = ("versions", "writable", "boot", "all but boot")
GOES_ON = [*["rollback: done"] * 5, "refresh: done", "prune: done", "refresh: done"]


def in_a_namespace(module: str, *arguments: str) -> str:
    """What a program of the tests prints, in a mount namespace of its own."""
    versions = [version(number, files=30) for number in "123"]
    versions += [version(number, image="desk", mode="rw", files=30) for number in "12"]
    versions.append(version("4", image="desk", mode="rw", files=30))
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", module, *arguments]
    done = subprocess.run([*command, new_place(), *versions], cwd=ROOT, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return done.stdout


def on_a_full_disk(*arguments: str) -> list[str]:
    """What each command did: KIND LACK PART CASE, see tests/full_disks.py."""
    found: list[str] = json.loads(in_a_namespace("tests.full_disks", *arguments))
    return found


@pytest.mark.parametrize(("kind", "lack"), DISKS)
def test_everything_but_a_deploy_works(kind: str, lack: str) -> None:
    refused, adopted, *others = on_a_full_disk(kind, lack, "all", "new")
    assert refused.startswith("deploy: refused: ")
    assert "MB" in refused
    # a kernel is megabytes: its inodes are held in reserve, its bytes are not
    assert adopted.startswith("adopt-kernel: refused: " if lack == "bytes" else "adopt-kernel: done")
    assert others == GOES_ON


@pytest.mark.parametrize(("part", "lack"), [*((part, "bytes") for part in PARTS), ("writable", "inodes")])
def test_a_part_of_a_store_that_is_full_alone(part: str, lack: str) -> None:
    """Clients can fill what they write to; the disk of the menus can be full without the others."""
    refused, _, *others = on_a_full_disk("ext4", lack, part, "new")
    assert refused.startswith("deploy: refused: ")
    assert others == GOES_ON


@pytest.mark.parametrize(("kind", "lack"), [("ext4", "inodes"), *((kind, "bytes") for kind, _ in DISKS[::2])])
def test_a_store_without_a_reserve_can_be_pruned(kind: str, lack: str) -> None:
    """It was full before there was one, as a store of 0.1 may be."""
    _, *pruned = on_a_full_disk(kind, lack, "all", "old")
    if kind == "btrfs":  # three megabytes of metadata must be free for a rename, and these versions had less
        assert pruned[0].startswith("prune: refused: ")
        assert "the versions are gone, but the menus name them still" in pruned[0]
    else:
        assert pruned[0] == "prune: done"
    assert pruned[-2:] == ["prune: done", "refresh: done"]


@pytest.mark.parametrize(("case", "action"), [("new", "rollback"), ("old", "prune")])
def test_stopped_on_a_full_disk_the_next_command_works_there_too(case: str, action: str) -> None:
    assert in_a_namespace("tests.full_disk_crash", "ext4", case, action, "names") == ""


@pytest.mark.full
@pytest.mark.parametrize(
    ("kind", "case", "action"),
    [
        ("ext4", "new", "prune"),
        ("xfs", "new", "rollback"),
        ("xfs", "old", "prune"),
        # without a reserve a prune on a btrfs without free metadata cannot end there: see above
        ("btrfs", "new", "rollback"),
        ("btrfs", "new", "prune"),
    ],
)
def test_stopped_at_any_kind_of_call_on_a_full_disk(kind: str, case: str, action: str) -> None:
    assert in_a_namespace("tests.full_disk_crash", kind, case, action, "sites") == ""
