"""Unpacking with a second process: the same tree, the same errors, and no process left whatever happens."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from builder.errors import AuditError, HostError
from builder.model.index import FILE, Index
from builder.system import helper
from builder.system.archive import scan_tree, write_archive
from builder.system.content import runs_of
from builder.system.source import DirectorySource
from builder.system.unpack import unpack_source
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
    return DirectorySource(tmp_path), index


def unpacked(packed: tuple[DirectorySource, Index], on_file: object = None) -> Path:
    source, index = packed
    root = source.directory / "root"
    unpack_source(source, index, root, on_file=on_file or (lambda name: None))  # type: ignore[arg-type]
    return root


def children() -> set[int]:
    """Those of this process, without servers that other tests have left running for tests to come."""
    found = Path(f"/proc/self/task/{os.getpid()}/children").read_text("ascii").split()
    return {int(word) for word in found} - _servers


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
    assert (tmp_path / "again.tar.zst").read_bytes() == source.archive.read_bytes()
    assert children() == set()


@pytest.mark.parametrize("part", [0.2, 0.8])
def test_damage_in_either_part(part: float, packed: tuple[DirectorySource, Index]) -> None:
    source, _ = packed
    data = bytearray(source.archive.read_bytes())
    data[int(len(data) * part)] ^= 1
    source.archive.write_bytes(data)
    with pytest.raises(AuditError, match=r"rootfs\.tar\.zst: damaged at byte \d+"):
        unpacked(packed)
    assert children() == set()


def test_what_the_kernel_refuses_the_helper(packed: tuple[DirectorySource, Index]) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            unpacked(packed)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("runs", [1, 2, 5])
def test_only_what_is_wanted(runs: int, packed: tuple[DirectorySource, Index]) -> None:
    """Of many runs of frames, each file is written once, by one of both."""
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


def test_a_helper_dies_with_its_parent(packed: tuple[DirectorySource, Index]) -> None:
    """Even by SIGKILL, and even while it is stopped."""
    _, index = packed
    source = packed[0]
    (source.directory / "index").write_bytes(index.to_json())
    program = """
import os, signal, sys, time
from pathlib import Path
from builder.model.index import Index
from builder.system import helper
from builder.system.source import DirectorySource
from builder.system.unpack import unpack_source
helper._WORTH = 1
os.sched_getaffinity = lambda pid: {0, 1}
def on_file(name):
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    if children:
        time.sleep(1)  # it has asked for the signal by then
        os.kill(int(children[0]), signal.SIGSTOP)
        print(children[0], flush=True)
        time.sleep(600)
directory = Path(sys.argv[1])
unpack_source(DirectorySource(directory), Index.from_json((directory / "index").read_bytes()), directory / "root",
              on_file=on_file)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program, source.directory], stdout=subprocess.PIPE, encoding="ascii"
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text("ascii").split()[2]:
        assert time.monotonic() < deadline, "the helper lives on"
        time.sleep(0.05)
