"""Networks that cut, delay, damage and refuse, and processes that are killed: nothing wrong is ever accepted."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import pty
import random
import re
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from builder.deploy import DeployOptions, deploy
from builder.errors import AuditError, DisklessError, TransferError
from builder.model.artifacts.manifest import LOG
from builder.transports.base import Options
from builder.transports.oci.upload import CHUNK
from builder.transports.pieces import LARGEST_PART
from builder.transports.retries import Retries
from tests.images import DISKLESS, run_diskless, running_diskless
from tests.integration.transports.test_transports import contents
from tests.places import HASTY, Place, registry_place, web_place
from tests.proxy import FaultyProxy, faulty_proxy
from tests.require import needs_root, needs_tool
from tests.scratch import new_place
from tests.servers import Server, run_nginx, run_registry
from tests.stores import SERVER, faults, quiet
from tests.versions import make_version, some_bytes

pytestmark = [needs_tool("docker-registry", "nginx")]
PLACES: dict[
    str, tuple[Callable[[Path], contextlib.AbstractContextManager[Server]], Callable[[Server, Options], Place]]
]
PLACES = {"registry": (run_registry, registry_place), "web": (run_nginx, web_place)}
FAULT_RATE = 0.15


@contextlib.contextmanager
def behind_proxy(kind: str, directory: Path, seed: int) -> Iterator[tuple[Place, Place, FaultyProxy]]:
    """A place through a proxy, the same place without it, and the proxy."""
    run_server, make_place = PLACES[kind]
    with run_server(directory / "server") as server, faulty_proxy(server, seed) as proxy:
        options = Options(cache=directory / "cache", retries=HASTY)
        direct = make_place(server, Options(retries=HASTY))
        yield make_place(proxy.server, options), direct, proxy


def pull_it(place: Place, output: Path, expected: Path) -> None:
    assert contents(place.pull("stable", output).directory) == contents(expected)


def deploy_it(place: Place, store: Path, expected: Path) -> None:
    """And prunes what was there before, so that the store stays small."""
    deployed = deploy(place.open("stable"), store, DeployOptions(SERVER, keep=2), quiet())
    assert deployed.manifest.version == expected.name


def meet_faults(kind: str, directory: Path, rounds: range) -> tuple[int, FaultyProxy]:
    """Uploads versions, pulls and deploys them through faults; what others see is always the old or the new one.

    Returns how often a command gave up.
    """
    store = new_place()
    gave_up = 0
    with behind_proxy(kind, directory, seed=rounds.start) as (place, direct, proxy):
        current = make_version(directory / "here", {"etc/round": b"none\n"})
        place.upload(current, "stable")
        for number in rounds:
            following = make_version(directory / "here", {"etc/round": b"%d\n" % number, "usr/bin/su": None})
            proxy.rate = FAULT_RATE
            succeeded = False
            with contextlib.suppress(TransferError, AuditError):
                place.upload(following, "stable")
                succeeded = True
            there = contents(direct.pull("stable", directory / "direct").directory)
            assert there in (contents(current), contents(following))
            assert not succeeded or there == contents(following)
            gave_up += not succeeded
            current = following if there == contents(following) else current
            for read in (pull_it, deploy_it):
                succeeded = False
                with contextlib.suppress(TransferError, AuditError):
                    read(place, directory / f"pulled{number % 3}" if read is pull_it else store, current)
                    succeeded = True
                gave_up += not succeeded
            proxy.rate = 0.0
            assert faults(store) == []
            assert not list(store.rglob(".tmp-*"))
    return gave_up, proxy


@needs_root
@pytest.mark.root
@pytest.mark.parametrize("kind", [pytest.param("web", marks=pytest.mark.full), "registry"])
def test_faults(kind: str, tmp_path: Path) -> None:
    gave_up, proxy = meet_faults(kind, tmp_path, range(10))
    assert sum(proxy.faults.values()) > 10
    assert gave_up <= 2


@needs_root
@pytest.mark.root
@pytest.mark.full
@pytest.mark.parametrize("seed", range(1000, 1100, 25))
@pytest.mark.parametrize("kind", PLACES)
def test_many_faults(kind: str, seed: int, tmp_path: Path) -> None:
    gave_up, proxy = meet_faults(kind, tmp_path, range(seed, seed + 25))
    report(f"{kind}: {dict(proxy.faults)}, gave up {gave_up} times")
    assert len(proxy.faults) == 10
    assert gave_up <= 5


@pytest.mark.parametrize("kind", PLACES)
def test_whole_file_instead_of_a_range(kind: str, tmp_path: Path) -> None:
    with behind_proxy(kind, tmp_path, seed=1) as (place, _, proxy):
        place.upload(make_version(tmp_path / "here"), "stable")
        place.pull("stable", tmp_path / "there")
        changes = {f"etc/app{number}.conf": b"changed" for number in range(0, 300, 30)}
        version = make_version(tmp_path / "here", changes)
        place.upload(version, "stable")
        proxy.reset()
        proxy.only = "whole"
        proxy.rate = 1.0
        assert contents(place.pull("stable", tmp_path / "there").directory) == contents(version)
        if kind == "web":  # one file: it comes whole, but only once
            assert any(span for _, _, span in proxy.requests)
            assert proxy.down < 3 * sum(path.stat().st_size for path in version.iterdir())


@pytest.mark.parametrize("kind", PLACES)
def test_what_is_always_damaged_is_never_taken(kind: str, tmp_path: Path) -> None:
    with behind_proxy(kind, tmp_path, seed=2) as (place, direct, proxy):
        version = make_version(tmp_path / "here")
        proxy.only, proxy.rate = "damage request", 1.0
        with pytest.raises(DisklessError):
            place.upload(version, "stable")
        with pytest.raises(TransferError):
            direct.open("stable")
        proxy.rate = 0.0
        place.upload(version, "stable")
        proxy.only, proxy.rate = "damage answer", 1.0
        with pytest.raises(DisklessError):
            place.pull("stable", tmp_path / "there")
        assert not list((tmp_path / "there").glob("lab/*"))


@functools.cache
def heavy_kernel() -> bytes:
    """So much that a transfer takes a while, and nothing of it can be compressed."""
    return random.Random("kernel").randbytes(40 << 20)


def report(text: str) -> None:
    """For people who run the tests with -s."""
    sys.stdout.write(f"{text}\n")


def kill_when(process_pid: int, came_to: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not came_to():
        assert time.monotonic() < deadline, "the transfer did not come so far"
        time.sleep(0.005)
    os.kill(process_pid, signal.SIGKILL)


@pytest.mark.parametrize(("kind", "share"), [("registry", 0.67), ("web", 0.93)])
def test_killed_upload_continues(kind: str, share: float, tmp_path: Path) -> None:
    """What arrived is not sent again: of a registry at most the parts on their way, of a web server the last file."""
    with behind_proxy(kind, tmp_path, seed=3) as (place, direct, proxy):
        version = make_version(tmp_path / "here", kernel=heavy_kernel())
        size = sum(path.stat().st_size for path in version.iterdir() if path.name != LOG)
        proxy.pause = 0.005
        arguments: list[str | Path] = [
            "upload",
            version,
            "--to",
            place.target,
            "--tag",
            "stable",
            "--cache",
            tmp_path / "cache",
        ]
        with running_diskless(*arguments) as process:
            kill_when(process.pid, lambda: proxy.up > size * share)
            process.wait()
        killed_at = proxy.up
        with pytest.raises(TransferError):
            direct.open("stable")
        proxy.pause = 0.0
        result = run_diskless(*arguments)
        assert result.returncode == 0, result.stderr
        report(f"{size} bytes, killed after {killed_at}, {proxy.up - killed_at} more")
        assert proxy.up < size + 6 * LARGEST_PART + (1 << 20)
        assert contents(direct.pull("stable", tmp_path / "there").directory) == contents(version)


@pytest.mark.full  # test_killed_deploy_continues is the same and more
@pytest.mark.parametrize("kind", PLACES)
def test_killed_pull_continues(kind: str, tmp_path: Path) -> None:
    with behind_proxy(kind, tmp_path, seed=4) as (place, _, proxy):
        changes = {f"usr/lib/large{number}": some_bytes(f"large{number}", 3 << 20) for number in range(8)}
        version = make_version(tmp_path / "here", changes, kernel=heavy_kernel()[: 8 << 20])
        size = sum(path.stat().st_size for path in version.iterdir() if path.name != LOG)
        place.upload(version, "stable")
        proxy.reset()
        proxy.pause = 0.005
        arguments: list[str | Path] = [
            "pull",
            place.reference("stable"),
            "--output",
            tmp_path / "out",
            "--cache",
            tmp_path / "cache",
        ]
        killed = []
        for share in (0.1, 0.7):
            with running_diskless(*arguments) as process:
                kill_when(process.pid, lambda share=share: proxy.down > size * share)  # type: ignore[misc]
                process.wait()
            killed.append(proxy.down)
            assert not list((tmp_path / "out").glob("lab/*"))
        proxy.pause = 0.0
        result = run_diskless(*arguments)
        assert result.returncode == 0, result.stderr
        report(f"{size} bytes, killed after {killed}, {proxy.down} in all")
        assert proxy.down < size + (8 << 20)
        assert contents(tmp_path / "out/lab" / version.name) == contents(version)
        assert not list((tmp_path / "cache/transfers").glob("versions/*/*"))


LARGE = {"usr/lib/large": random.Random("large").randbytes(7 << 20)}  # one layer, sent in two chunks


def patches(proxy: FaultyProxy) -> list[str]:
    return [span for method, _, span in proxy.requests if method == "PATCH"]


@pytest.mark.parametrize("attempts", [5, 1])
def test_chunks_continue(attempts: int, tmp_path: Path) -> None:
    """After a connection that broke between two chunks: in the same process, or in the next one."""
    with behind_proxy("registry", tmp_path, seed=8) as (place, direct, proxy):
        version = make_version(tmp_path / "here", LARGE)
        place.upload(make_version(tmp_path / "here"), "stable")
        proxy.reset()
        proxy.planned = {("PATCH", 2): "cut before"}
        options = dataclasses.replace(place.options, retries=Retries(attempts=attempts, first=0.01))
        hasty = dataclasses.replace(place, options=options)
        if attempts == 1:
            with pytest.raises(TransferError):
                hasty.upload(version, "stable")
        place.upload(version, "stable") if attempts == 1 else hasty.upload(version, "stable")
        first, cut, continued = patches(proxy)
        assert (first, cut) == (f"0-{CHUNK - 1}", continued)
        assert proxy.up < (8 << 20)
        assert contents(direct.pull("stable", tmp_path / "there").directory) == contents(version)
        assert not list((tmp_path / "cache/transfers/uploads").iterdir())


def test_chunks_that_were_lost_are_sent_again(tmp_path: Path) -> None:
    """docker-registry forgets an upload whose connection broke inside a chunk."""
    with behind_proxy("registry", tmp_path, seed=9) as (place, direct, proxy):
        version = make_version(tmp_path / "here", LARGE)
        proxy.planned = {("PATCH", 2): "cut request", ("PATCH", 4): "damage request"}
        place.upload(version, "stable")
        assert len(patches(proxy)) >= 6
        assert contents(direct.pull("stable", tmp_path / "there").directory) == contents(version)


def test_every_layer_is_looked_at_once(tmp_path: Path) -> None:
    """Also those that the last version had: a registry may have lost them since."""
    with behind_proxy("registry", tmp_path, seed=10) as (place, _, proxy):
        place.upload(make_version(tmp_path / "here"), "stable")
        proxy.reset()
        done = place.upload(make_version(tmp_path / "here", {"etc/hostname": b"changed"}), "stable")
        asked = [path for method, path, span in proxy.requests if (method, span) == ("GET", "bytes=0-0")]
        assert len(asked) == len(set(asked)) == done.pushed.files + done.pushed.there + 1  # and the empty configuration
        assert done.pushed.there > 15
        assert proxy.down < done.pushed.size / 20


def test_progress_on_a_terminal(tmp_path: Path) -> None:
    with behind_proxy("registry", tmp_path, seed=11) as (place, _, proxy):
        version = make_version(tmp_path / "here")
        proxy.pause = 0.02
        for arguments in (
            ["upload", str(version), "--to", place.target, "--tag", "stable"],
            ["pull", place.reference("stable"), "--output", str(tmp_path / "there")],
        ):
            main, other = pty.openpty()
            termios.tcsetwinsize(other, (24, 80))
            environment = {**os.environ, "TERM": "xterm"}
            process = subprocess.Popen(
                [DISKLESS, *arguments, "--cache", str(tmp_path / "cache")], stdout=other, stderr=other, env=environment
            )
            os.close(other)
            shown = b""
            with contextlib.suppress(OSError), open(main, "rb", buffering=0) as terminal:
                while data := terminal.read(4096):
                    shown += data
            assert process.wait() == 0, shown
            assert re.search(rb"[0-9]+%  [0-9.]+/[0-9.]+ [kM]B  [0-9.]+ [kM]?B/s", shown), shown
