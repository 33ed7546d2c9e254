"""An upgrade under a running client, served by the kernel's nfsd of a server guest with the generated configuration."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from builder.bootlab import network
from builder.bootlab.lab import Lab
from builder.bootlab.machine.accelerator import accelerator_arguments
from builder.bootlab.machine.guest import Guest
from builder.bootlab.settings import Patience
from builder.output.versions import read_manifest
from builder.system.private_mounts import private_mounts
from tests.e2e.test_upgrade import IMAGE, MACHINE, check_is, inside, versions
from tests.images import run_diskless
from tests.require import needs_boot, needs_server_guest
from tests.scratch import scratch
from tests.serverguest.disks import Drive, make_ext4
from tests.serverguest.guest import ServerGuest
from tests.serverguest.root import ADDRESS, server_root
from tests.serverguest.server import SITE, STORE, Server

pytestmark = [*needs_boot, *needs_server_guest, pytest.mark.full]

# two guests share this machine
PATIENCE = Patience(login=900, check=900, power_off=300)
LOWER = "/run/overlay/lower"
# Some of the root, from the server each time: a round trip between emulated guests takes up to a tenth of a second, and
# a file five of them. /run is mounted noexec. What differs or cannot be read is in errors.
READER = f"""#!/bin/sh
cd {LOWER}
find usr/bin usr/sbin -xdev -type f -print0 | sort -z | head -z -n 200 | xargs -0 md5sum > /run/sums 2> /run/errors
while true; do
    echo pass >> /run/passes
    echo 3 > /proc/sys/vm/drop_caches
    md5sum --check --quiet /run/sums >> /run/errors 2>&1
done
"""


@dataclass(frozen=True)
class Bed:
    lab: Lab
    server: Server


@pytest.fixture(scope="module")
def bed() -> Iterator[Bed]:
    """Two guests' network, and in it a server that has two versions deployed and a third one at hand."""
    directory = scratch() / "nfsd"
    logs, store, new = directory / "lab", directory / "store", directory / "new"
    for path in (logs, store, new):
        path.mkdir(parents=True)
    with private_mounts():
        make_store(store, versions()[:2])
        subprocess.run(["umount", store / "ro"], check=True)
    shutil.copytree(versions()[2], new / versions()[2].name)
    make_ext4(directory / "store.ext4", store, room=512, journal=True)
    make_ext4(directory / "versions.ext4", new)
    drives = [Drive(directory / "store.ext4"), Drive(directory / "versions.ext4", read_only=True)]
    # the server is a guest too, with disks
    with Lab(logs, patience=PATIENCE, shared=(scratch().parent,)) as lab:
        root = server_root()
        network.add_tap(lab.namespace, lab.site, "server")
        accelerator = accelerator_arguments(root.kernel)
        guest = ServerGuest(lab.namespace, "server", root, drives, accelerator, "server")
        yield Bed(lab, Server(guest))
        guest.cut_power()


def make_store(directory: Path, paths: Sequence[Path]) -> None:
    """What the server's disk holds; made here, for under emulation these deploys take many minutes."""
    (directory / "site.yml").write_text(SITE, encoding="ascii")
    commands: list[tuple[str | Path, ...]] = [("storage", "--ro", "3G"), *(("deploy", path) for path in paths)]
    for command in commands:
        done = run_diskless(*command, "--to", directory)
        assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def booted(bed: Bed, name: str) -> Iterator[Guest]:
    """A client at its login prompt, switched off in order at the end."""
    guest = bed.lab.power_on(scratch() / f"nfsd-{name}.console.log", server_root().kernel, MACHINE)
    try:
        guest.await_login()
    except Exception:
        print(bed.server.run("tail -n 30 /run/dnsmasq.log; cat /proc/fs/nfsd/versions; exportfs -v"))  # noqa: T201
        raise
    yield guest
    guest.power_off()


def passes(guest: Guest) -> int:
    return int(inside(guest, "cat /run/passes 2>/dev/null | wc -l"))


def await_passes(guest: Guest, more: int) -> None:
    """Until every file was read that often once more; the reader is in the middle of one when this begins."""
    wanted = passes(guest) + more + 1
    inside(guest, f"until [ $(cat /run/passes | wc -l) -ge {wanted} ]; do sleep 1; done")


def test_an_upgrade_under_a_client_of_the_kernels_server(bed: Bed) -> None:
    paths = versions()
    zero, one, two = (read_manifest(path) for path in paths)
    server = bed.server
    with booted(bed, "one") as guest:
        check_is(guest, one)
        assert inside(guest, f"findmnt -nro SOURCE,FSTYPE {LOWER}") == (
            f"{ADDRESS}:{STORE}/ro/{IMAGE}/{one.version}/root nfs4"
        )
        inside(guest, f"cat > /run/reader <<'end'\n{READER}end\nsetsid sh /run/reader > /run/reader.log 2>&1 &")
        server.deploy(two.version)
        kept = server.prune(2)
        assert kept[zero.version] is None
        assert (
            zero.version
            not in server.run(f"ls {STORE}/versions/{IMAGE} {STORE}/ro/{IMAGE} {STORE}/boot/{IMAGE}").split()
        )
        kept = server.prune(1)
        assert kept[one.version] == f"in use by {guest_address(guest)}"
        await_passes(guest, 1)
        assert inside(guest, "cat /run/errors") == ""
        assert inside(guest, f"grep -c . /run/sums; cat {LOWER}/etc/motd").endswith("version 1")
        check_is(guest, one)
    with booted(bed, "two") as guest:
        check_is(guest, two)
    server.run(f"diskless rollback --to {STORE}")
    with booted(bed, "back") as guest:
        check_is(guest, one)
    assert server.run(f"diskless verify --deep --to {STORE}").strip().endswith("no fault found")


def guest_address(guest: Guest) -> str:
    return inside(guest, "ip -4 -o address show scope global | awk '{print $4}'").partition("/")[0]
