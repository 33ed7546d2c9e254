"""Unpacking with a second process: the same tree, the same errors, and no process left whatever happens."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.archive import helper
from builder.archive.content import OnFile, runs_of
from builder.archive.unpack import unpack_source
from builder.archive.writer import scan_tree, write_archive
from builder.errors import AuditError, HostError
from builder.model.artifacts.index import FILE, Index
from builder.output.source import DirectorySource
from builder.system.guarded.held import HeldDirectory
from tests.require import needs_root

pytestmark = [needs_root, pytest.mark.root]
EPOCH = 1_700_000_000
FILES = 40
_servers: set[int] = set()


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[DirectorySource, Index]:
    """An archive whose second half a helper writes; the largest file comes last."""
    monkeypatch.setattr(helper, "_WORTH", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    tree = tmp_path / "tree"
    for number in range(FILES):
        (tree / f"d{number % 7}").mkdir(parents=True, exist_ok=True)
        (tree / f"d{number % 7}/{number:02}").write_bytes(os.urandom(50_000))
    (tree / "last").write_bytes(os.urandom(3_500_000))
    (tree / "last").chmod(0o4751)
    os.setxattr(tree / "last", "user.name", b"value")
    (tree / "d0/again").hardlink_to(tree / "d0/00")
    (tree / "d6/link").symlink_to("../last")
    index = write_archive(scan_tree(tree, EPOCH), tmp_path / "rootfs.tar.zst")
    (tmp_path / "root").mkdir()
    return DirectorySource(HeldDirectory.at(tmp_path)), index


def archive_of(source: DirectorySource) -> Path:
    return source.held.path / source.rootfs


def unpacked(packed: tuple[DirectorySource, Index], on_file: OnFile = lambda name: None) -> Path:
    source, index = packed
    root = source.held.path / "root"
    unpack_source(source, index, HeldDirectory.at(root), on_file=on_file)
    return root


def children() -> set[int]:
    """Those of this process, without servers that other tests have left running for tests to come."""
    return children_of(os.getpid()) - _servers


def children_of(pid: int) -> set[int]:
    return {int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()}


@pytest.fixture(autouse=True)
def _known_children() -> None:
    _servers.clear()
    _servers.update(children())


def test_both_write_and_all_is_told(packed: tuple[DirectorySource, Index], tmp_path: Path) -> None:
    source, index = packed
    mine, others = helper.divide(index, runs_of(index, None))
    shares = [sum(record.size for run in runs for record in index.files[run.records]) for runs in (mine, others)]
    assert sum(shares) == sum(record.size for record in index.files)
    assert min(shares) > 0
    told: list[str] = []
    root = unpacked(packed, told.append)
    assert len(told) == len(index.files) - 1  # the root is there
    again = write_archive(scan_tree(root, EPOCH), tmp_path / "again.tar.zst")
    assert again == index
    assert (tmp_path / "again.tar.zst").read_bytes() == archive_of(source).read_bytes()
    assert children() == set()


@pytest.mark.parametrize("part", [0.2, 0.8])
def test_damage_in_either_part(part: float, packed: tuple[DirectorySource, Index]) -> None:
    source, _ = packed
    data = bytearray(archive_of(source).read_bytes())
    data[int(len(data) * part)] ^= 1
    archive_of(source).write_bytes(data)
    with pytest.raises(AuditError, match=r"rootfs\.tar\.zst: damaged at byte \d+"):
        unpacked(packed)
    assert children() == set()


def test_a_root_that_is_exchanged_while_the_helper_starts(
    packed: tuple[DirectorySource, Index], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither process finds the link that is in its place by then."""
    real = subprocess.Popen
    (tmp_path / "outside").mkdir()

    def exchanging(*arguments: Any, **options: Any) -> Any:
        (tmp_path / "root").rename(tmp_path / "away")
        (tmp_path / "root").symlink_to(tmp_path / "outside")
        return real(*arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", exchanging)
    source, index = packed
    unpack_source(source, index, HeldDirectory.at(tmp_path / "root"))
    assert list((tmp_path / "outside").iterdir()) == []
    assert write_archive(scan_tree(tmp_path / "away", EPOCH), tmp_path / "again") == index


def test_what_the_kernel_refuses_the_helper(packed: tuple[DirectorySource, Index]) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            unpacked(packed)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("runs", [1, 2, 5])
def test_a_division_loses_nothing(runs: int, packed: tuple[DirectorySource, Index]) -> None:
    """Of many runs of frames each goes to one of both, and begins with a member."""
    _, index = packed
    files = [position for position, record in enumerate(index.files) if record.type == FILE]
    wanted = files[:: runs + 1] if runs > 1 else files
    found = runs_of(index, wanted)
    mine, others = helper.divide(index, found)
    assert mine
    assert others
    assert [position for run in (*mine, *others) for position in range(*run.frames.indices(10**6))] == [
        position for run in found for position in range(*run.frames.indices(10**6))
    ]
    assert [position for run in (*mine, *others) for position in range(*run.records.indices(10**6))] == [
        position for run in found for position in range(*run.records.indices(10**6))
    ]
    for run in (*mine, *others):
        assert index.files[run.records.start].frame == run.frames.start


def test_a_helper_that_is_killed(packed: tuple[DirectorySource, Index]) -> None:
    def kill(_: str) -> None:
        for child in children():
            os.kill(child, signal.SIGKILL)

    with pytest.raises(HostError, match="ended early: killed by SIGKILL"):
        unpacked(packed, kill)
    assert children() == set()


def test_an_interrupt_ends_the_helper(packed: tuple[DirectorySource, Index]) -> None:
    def interrupt(_: str) -> None:
        if children():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpacked(packed, interrupt)
    assert children() == set()


def test_a_helper_dies_with_its_parent(packed: tuple[DirectorySource, Index], tmp_path: Path) -> None:
    """Even by SIGKILL; it waits for an archive that never comes, so nothing else ends it."""
    _, index = packed
    os.mkfifo(tmp_path / "never")
    (tmp_path / "index").write_bytes(index.to_json())
    program = """
import sys, time
from pathlib import Path
from builder.model.artifacts.index import Index
from builder.archive.content import OnFile, runs_of
from builder.archive.helper import helping
from builder.output.source import DirectorySource
from builder.system.guarded.held import HeldDirectory
here = Path(sys.argv[1])
index = Index.from_json((here / "index").read_bytes())
source, root = DirectorySource(HeldDirectory.at(here), "never"), HeldDirectory.at(here / "root")
with helping(source, index, root, runs_of(index, None), set(), print):
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", program, tmp_path]) as parent:
        # it opens the directory after it has asked for the signal
        until(lambda: any(holds_open(child, tmp_path / "root") for child in children_of(parent.pid)))
        (child,) = children_of(parent.pid)
        parent.kill()
    until(lambda: not Path(f"/proc/{child}").exists())


def holds_open(pid: int, path: Path) -> bool:
    return any(descriptor.resolve() == path for descriptor in Path(f"/proc/{pid}/fd").iterdir())


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
