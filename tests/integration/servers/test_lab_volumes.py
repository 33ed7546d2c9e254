"""The file systems that a lab makes for itself: how much they hold, what they are made of, and that nothing is left."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.boot import BootOptions, open_bench
from builder.bootlab.nfs import choose_nfs_server
from builder.bootlab.walls.volumes import Medium, Volume, mounted
from builder.model.share import RW
from builder.progress.progress import Progress
from builder.store.filesystem import check_filesystem
from builder.system.guarded.held import HeldDirectory
from builder.system.private_mounts import private_mounts
from tests.images import descendants, loop_devices, running_diskless, wait_until_gone
from tests.require import needs_root, needs_tool
from tests.scratch import scratch
from tests.versions import make_version

pytestmark = [
    needs_root,
    needs_tool("dnsmasq", "rpcbind", "ip", "qemu-system-x86_64", "mkfs.ext4", "mount"),
    pytest.mark.root,
]
SIZE = 32 << 20


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Path:
    # servers name it
    directory: Path = scratch() / "volumes" / re.sub(r"[^a-z_]+", "-", str(request.node.name), flags=re.I)
    directory.mkdir(parents=True)
    return directory


@pytest.fixture(params=list(Medium), ids=lambda medium: medium.name)
def volume(request: pytest.FixtureRequest, place: Path) -> Iterator[Path]:
    directory = place / "volume"
    with private_mounts(), mounted([Volume(directory, SIZE, 2000)], request.param, place):
        yield directory
    assert not any(directory.iterdir())
    assert loop_devices(place) == []


def test_it_is_empty_and_can_hold_a_root(volume: Path) -> None:
    assert list(volume.iterdir()) == []
    assert volume.stat().st_dev != volume.parent.stat().st_dev
    assert (volume.stat().st_uid, volume.stat().st_mode & 0o7777) == (0, 0o755)
    check_filesystem(HeldDirectory.at(volume))
    for number in range(1500):
        (volume / str(number)).mkdir()


def test_it_holds_so_much_and_no_more(volume: Path) -> None:
    with pytest.raises(OSError, match="No space left") as raised, (volume / "file").open("wb") as file:
        for _ in range(2 * SIZE >> 20):
            file.write(bytes(1 << 20))
    assert raised.value.errno == errno.ENOSPC
    assert SIZE // 2 < (volume / "file").stat().st_size <= SIZE


def test_devices_and_programs_in_it_are_none(volume: Path) -> None:
    os.mknod(volume / "null", 0o20666, os.makedev(1, 3))
    with pytest.raises(PermissionError):
        (volume / "null").open("wb")
    (volume / "program").write_text("#!/bin/sh\n", "ascii")
    (volume / "program").chmod(0o4755)
    with pytest.raises(PermissionError):
        subprocess.run([volume / "program"], check=False)


@pytest.mark.parametrize("medium", list(Medium), ids=lambda medium: medium.name)
def test_a_lab_serves_from_either(place: Path, medium: Medium, monkeypatch: pytest.MonkeyPatch) -> None:
    if medium is Medium.MEMORY and not choose_nfs_server().exports_tmpfs():
        pytest.skip("needs an NFS server that exports a tmpfs: nfs-ganesha does not since 5.3")
    monkeypatch.setattr("builder.boot.choose_medium", lambda nfs, *, exports_tmpfs: medium)
    version = make_version(place / "output", mode="rw")
    here = Path.cwd()
    with open_bench(version, BootOptions(work=place / "boot"), Progress()) as bench:
        assert (bench.root / "etc").is_dir()
        assert bench.lab.serves(f"{bench.lab.site.path or bench.store.root}/rw/lab/{version.name}/root")
        # the guest's share is bounded by what was free, and by what anybody may need
        assert os.statvfs(bench.store.root / RW).f_blocks * 4096 < (5 << 30)
    assert Path.cwd() == here
    assert loop_devices(place) == []
    assert list((place / "boot").iterdir()) in ([], [place / "boot/lock"])


def host_state() -> tuple[str, str]:
    """Mounts and links of the host."""
    links = subprocess.run(["ip", "-o", "link"], check=True, capture_output=True, encoding="utf-8").stdout
    return Path("/proc/self/mountinfo").read_text(encoding="utf-8"), links


@pytest.mark.parametrize("moment", ["unpack ...", "serve ...", "boot ...", "lease"])
def test_nothing_is_left_of_a_boot_that_is_killed(place: Path, moment: str) -> None:
    version, before = make_version(place / "output", mode="rw"), host_state()
    with running_diskless("boot", version, "--cache", place) as process:
        assert process.stderr is not None
        heard = []
        for line in process.stderr:
            heard.append(line)
            if line.strip().endswith(moment):
                break
        else:
            pytest.fail("".join(heard))
        running = descendants(process.pid)
        assert len(running) >= 2
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert wait_until_gone(running) == set()
    assert host_state() == before
    assert loop_devices(place) == []
