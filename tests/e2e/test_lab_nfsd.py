"""The lab on a host whose kernel serves NFS, as on Arch Linux, where no repository has nfs-ganesha."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from builder.bootlab.machine.accelerator import accelerator_arguments
from builder.bootlab.namespace import Namespace
from tests.require import needs_server_guest
from tests.scratch import scratch
from tests.serverguest.guest import ServerGuest
from tests.serverguest.root import server_root

pytestmark = [*needs_server_guest, pytest.mark.full]

# a lab without guests; its clients are mounts of the same kernel, each command is given a minute
LAB = """
import json, subprocess, sys, time
from pathlib import Path
from builder.bootlab.lab import lab_view
from builder.bootlab.namespace import Namespace
from builder.bootlab.nfs import choose_nfs_server
from builder.model.share import ServedStore, Share
from builder.model.site import Site

def running():
    found = subprocess.run(["ps", "-eo", "pid,ppid,stat,comm"], stdout=subprocess.PIPE, text=True).stdout
    return [line for line in found.splitlines() if line.split()[3] in ("nfsd", "rpc.mountd")]

def left():
    "The kernel is still ending them when the lab is over."
    for _ in range(600):
        if running() == []:
            return []
        time.sleep(0.1)
    return running()

places = {name: Path("/srv") / name for name in ("boot", "ro", "rw")}
for place in places.values():
    place.mkdir(exist_ok=True)
(places["ro"] / "release").write_text("one")
site = Site(server="127.0.0.1", subnet="127.0.0.0/8")
store = ServedStore("/srv", (Share("ro", 3), Share("rw", 4)))
seen = {}
for version in ("vers=3,nolock", "vers=4.2"):
    directory = Path("/var/tmp") / version
    directory.mkdir()
    server = choose_nfs_server()
    with Namespace(directory, lab_view(server, site, store)) as lab:
        lab.check(["ip", "link", "set", "lo", "up"])
        mountd = server.start(lab, site, store)
        for name, place in list(places.items())[1:]:
            lab.check(["mkdir", f"/run/{name}"])
            lab.check(["mount", "-t", "nfs", "-o", version, f"127.0.0.1:{place}", f"/run/{name}"])
        ports = lab.check(["rpcinfo", "-p"]).splitlines()
        seen[version] = {
            "server": type(server).__name__,
            "mountd": sorted({line.split()[3] for line in ports if line.endswith("mountd")}),
            "read": lab.check(["cat", "/run/ro/release"]),
            "write": lab.run(["sh", "-c", "echo two > /run/ro/release"]).status != 0,
            "append": lab.run(["sh", "-c", f"echo {version} > /run/rw/{version}"]).status,
            "given": lab.run(["chown", "7:8", f"/run/rw/{version}"]).status,
            "capabilities": lab.check(["grep", "CapEff", f"/proc/{mountd.pid}/status"]).split()[1],
            "threads": running() != [],
        }
        # a real lab's clients are guests: a mount of this kernel would wait for its server for ever, and hold mountd
        lab.check(["umount", "/run/ro", "/run/rw"])
    seen[version]["left"] = left()
    seen[version]["written"] = (places["rw"] / version).read_text()
    seen[version]["owner"] = (places["rw"] / version).stat().st_uid
print(json.dumps(seen))
"""


@pytest.fixture
def guest() -> Iterator[ServerGuest]:
    directory = scratch() / "lab-nfsd"
    directory.mkdir()
    with Namespace(directory) as namespace:
        root = server_root()
        guest = ServerGuest(namespace, "server", root, [], accelerator_arguments(root.kernel))
        yield guest
        guest.cut_power()


def test_the_kernels_server_in_a_lab(guest: ServerGuest) -> None:
    # what the host itself exports, and how, is not the lab's
    guest.check("mkdir -p /etc/exports.d; echo '/nowhere *(rw)' > /etc/exports.d/host.exports; rm -f /etc/exports")
    guest.check("printf '[nfsd]\\nvers3=n\\nvers4=n\\n' > /etc/nfs.conf")
    guest.check(f"cat > /run/lab.py <<'end'\n{LAB}end")
    seen = json.loads(guest.check("python3 -P /run/lab.py 2>&1").splitlines()[-1])
    for version in ("vers=3,nolock", "vers=4.2"):
        assert seen[version] == {
            "server": "KernelNfsd",
            "mountd": ["20048"],
            "read": "one",
            "write": True,
            "append": 0,
            "given": 0,
            "capabilities": "0000000000000004",  # DAC_READ_SEARCH
            "owner": 7,
            "threads": True,
            "left": [],
            "written": f"{version}\n",
        }
