"""A store of 0.1 is brought over to file systems of its own under clients of the kernel's NFS server.

A server guest is its own client: it mounts over the loopback, NFSv3 and NFSv4.2 as different clients do.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.bootlab.machine.accelerator import accelerator_arguments
from builder.bootlab.namespace import Namespace
from tests.releases import DESK, SECOND, unpack_release
from tests.require import needs_server_guest
from tests.scratch import scratch
from tests.serverguest.disks import Drive, make_ext4
from tests.serverguest.guest import ServerGuest
from tests.serverguest.root import server_root

pytestmark = [*needs_server_guest, pytest.mark.full]

STORE = "/srv/diskless/store"
LAB, NEW_LAB = f"versions/lab/{SECOND}/root", f"ro/lab/{SECOND}/root"
OLD_DESK, NEW_DESK = f"writable/desk/{DESK}/root", f"rw/desk/{DESK}/root"
VERSIONS = {"v3": "vers=3,nolock", "v4": "vers=4.2"}
START = f"""set -e
modprobe -a nfsd loop ext4
ip address add 192.168.1.1/24 dev lo
mkdir -p /srv/diskless /run/rpcbind /run/sendsigs.omit.d
mount /dev/vdb /srv/diskless
diskless server-config --to {STORE} --server 192.168.1.1 --format exports --install
rpcbind -w
mount -t nfsd nfsd /proc/fs/nfsd
echo 10 > /proc/fs/nfsd/nfsv4gracetime
exportfs -ra
rpc.nfsd 8
rpc.mountd
"""
# Holds files open and reads them again and again, from the server each time, and writes where it may.
CLIENT = """
import os, sys, time
lab, desk = (open(path, "r+b" if "r+" in mode else "rb", buffering=0) for path, mode in zip(sys.argv[1:3], ("r", "r+")))
wanted = lab.read()
count = 0
while True:
    os.posix_fadvise(lab.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    open("/proc/sys/vm/drop_caches", "w").write("3")
    try:
        lab.seek(0)
        assert lab.read() == wanted
        count += 1
        desk.seek(0)
        desk.write(b"%012d" % count)
        os.fsync(desk.fileno())
    except Exception as error:
        print(f"failed: {error!r}", flush=True)
        break
    print(count, flush=True)
    time.sleep(0.2)
"""


@pytest.fixture(scope="module")
def guest() -> Iterator[ServerGuest]:
    """Serves a store as 0.1 left it; clients of both versions of NFS hold files of it open."""
    directory = scratch() / "migration"
    disk = directory / "disk"
    disk.mkdir(parents=True)
    store = unpack_release("0.1", disk) / "store"
    for other in disk.iterdir():
        if other.is_dir() and other != store:
            shutil.rmtree(other)
    make_ext4(directory / "store.ext4", disk, room=900, journal=True)
    with Namespace(directory) as namespace:
        root = server_root()
        drives = [Drive(directory / "store.ext4")]
        made = ServerGuest(namespace, "server", root, drives, accelerator_arguments(root.kernel))
        made.check(START)
        made.check(f"cat > /run/client.py <<'end'\n{CLIENT}end")
        for name, options in VERSIONS.items():
            for share, path in (("lab", LAB), ("desk", OLD_DESK)):
                made.check(mount_command(options, path, f"/run/{name}/{share}"))
            made.check(f"printf 000000000000 > /run/{name}/desk/count-{name}")
            held = f"/run/{name}/lab/{name_of_file(store)} /run/{name}/desk/count-{name}"
            made.check(f"(setsid python3 /run/client.py {held} > /run/{name}.log 2>&1 &)")
        yield made
        made.cut_power()


def mount_command(options: str, path: str, target: str) -> str:
    return f"mkdir -p {target} && mount -t nfs -o {options},noac,lookupcache=none 192.168.1.1:{STORE}/{path} {target}"


def name_of_file(store: Path) -> str:
    found = (path for path in sorted((store / LAB).rglob("*")) if path.is_file() and path.stat().st_size)
    return str(next(found).relative_to(store / LAB))


def await_more(guest: ServerGuest) -> None:
    """Every client reads and writes on."""
    for name in VERSIONS:
        guest.check(
            f"before=$(tail -n 1 /run/{name}.log); for i in $(seq 300); do now=$(tail -n 1 /run/{name}.log); "
            f"case $now in failed*|*rror*) break;; esac; [ $now -gt $((before + 3)) ] && exit 0; sleep 0.2; done; "
            f"cat /run/{name}.log | tail -n 3; exit 1"
        )


def restart_server(guest: ServerGuest) -> None:
    guest.check("rpc.nfsd 0 && exportfs -ra && rpc.nfsd 8")


def install(guest: ServerGuest) -> str:
    guest.check(f"diskless server-config --to {STORE} --format exports --install && exportfs -ra")
    return guest.check("exportfs -v")


def test_clients_live_through_the_migration(guest: ServerGuest) -> None:
    await_more(guest)
    before = guest.check("cat /etc/exports.d/diskless.exports")
    state = json.loads(guest.check(f"diskless storage --to {STORE} --ro 192M --rw 192M --json -q"))
    assert state["waiting"] == [["desk", DESK]]
    await_more(guest)
    exported = install(guest)
    assert [line for line in before.splitlines() if line.startswith("/")] == [
        line
        for line in guest.check("cat /etc/exports.d/diskless.exports").splitlines()
        if line.startswith((f"{STORE}/versions ", f"{STORE}/writable "))
    ]
    assert all(f"{STORE}/{share}" in exported for share in ("ro", "rw", "versions", "writable"))
    await_more(guest)
    restart_server(guest)
    await_more(guest)
    for name, options in VERSIONS.items():
        guest.check(mount_command(options, NEW_LAB, f"/run/{name}/new"))
        guest.check(f"cd /run/{name} && diff -r --no-dereference lab new && ! touch new/x")
    assert guest.run(f"diskless verify --to {STORE}").status == 5

    refused = guest.run(f"diskless storage --to {STORE} --end-old-exports")
    assert refused.status == 3
    assert "192.168.1.1" in refused.output
    await_more(guest)

    # a file system grows under its clients
    guest.check("(setsid sleep 1000 < $(find /run/v4/new -type f | head -n 1) > /dev/null 2>&1 &)")
    guest.check(f"diskless storage --to {STORE} --ro 256M -q")
    assert int(guest.check(f"df --output=size -B1M {STORE}/ro | tail -n 1")) > 220
    guest.check("cd /run/v4 && echo 3 > /proc/sys/vm/drop_caches && diff -r --no-dereference lab new")

    # the clients are switched off
    last = {name: guest.check(f"cat /run/{name}/desk/count-{name}") for name in VERSIONS}
    guest.check("pkill -x python3; pkill -x sleep; sleep 1; for i in v3 v4; do umount /run/$i/lab /run/$i/desk; done")
    last = {name: max(count, guest.check(f"cat {STORE}/{OLD_DESK}/count-{name}")) for name, count in last.items()}
    guest.check("for i in $(seq 100); do grep -q open /proc/fs/nfsd/clients/*/states || exit 0; sleep 1; done; true")
    guest.check(
        f"diskless storage --to {STORE} --end-old-exports -q || "
        f"diskless storage --to {STORE} --end-old-exports --force -q"
    )
    exported = install(guest)
    assert f"{STORE}/versions" not in exported
    assert f"{STORE}/writable" not in exported
    for name, options in VERSIONS.items():
        guest.check(mount_command(options, NEW_DESK, f"/run/{name}/moved"))
        assert guest.check(f"cat /run/{name}/moved/count-{name}") == last[name]
        guest.check(f"echo new > /run/{name}/moved/written-{name}")
    assert guest.check(f"diskless verify --deep --to {STORE} -q").strip().endswith("no fault found")


def test_what_is_not_mounted_is_not_exported(guest: ServerGuest) -> None:
    guest.check("for i in v3 v4; do umount /run/$i/new /run/$i/moved; done; exportfs -f")
    guest.check(f"rpc.nfsd 0; exportfs -ua; umount {STORE}/ro && rpc.nfsd 8; exportfs -ra; true")
    guest.check(f"mkdir -p {STORE}/{NEW_LAB}; echo hidden > {STORE}/{NEW_LAB}/hidden")
    for name, options in VERSIONS.items():
        command = mount_command(options, NEW_LAB, f"/run/{name}/hidden").replace("&& mount", "&& timeout 60 mount")
        assert guest.run(command, seconds=120).status != 0
    assert guest.run(f"diskless rollback --to {STORE} lab").status == 3
    guest.check(f"rm -r {STORE}/ro/lab && diskless storage --to {STORE} -q && exportfs -ra")
    guest.check(mount_command(VERSIONS["v3"], NEW_LAB, "/run/v3/back"))
