"""The lab on a host whose kernel serves NFS, as on Arch Linux, where no repository has nfs-ganesha."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from builder.bootlab.accelerator import accelerator_arguments
from builder.bootlab.namespace import Namespace
from tests.images import scratch
from tests.require import needs_server_guest
from tests.serverguest.guest import ServerGuest
from tests.serverguest.root import server_root

pytestmark = [*needs_server_guest, pytest.mark.full]

# a lab without guests; its clients are mounts of the same kernel, each command is given a minute
LAB = """
import json, subprocess, sys, time
from pathlib import Path
from builder.bootlab.namespace import Namespace
from builder.bootlab.nfs import choose_nfs_server
from builder.model.site import Site

def running():
    return subprocess.run(["pgrep", "-c", "-x", "nfsd|rpc.mountd"], stdout=subprocess.PIPE, text=True).stdout.strip()

places = {name: Path("/srv") / name for name in ("versions", "writable")}
for place in places.values():
    place.mkdir(exist_ok=True)
(places["versions"] / "release").write_text("one")
site = Site(server="127.0.0.1", subnet="127.0.0.0/8")
seen = {}
for version in ("vers=3,nolock", "vers=4.2"):
    directory = Path("/var/tmp") / version
    directory.mkdir()
    with Namespace(directory) as lab:
        lab.check(["ip", "link", "set", "lo", "up"])
        server = choose_nfs_server()
        server.start(lab, site, "/srv")
        for name, place in places.items():
            lab.check(["mkdir", f"/run/{name}"])
            lab.check(["mount", "-t", "nfs", "-o", version, f"127.0.0.1:{place}", f"/run/{name}"])
        ports = lab.check(["rpcinfo", "-p"]).splitlines()
        seen[version] = {
            "server": type(server).__name__,
            "mountd": sorted({line.split()[3] for line in ports if line.endswith("mountd")}),
            "read": lab.check(["cat", "/run/versions/release"]),
            "write": lab.run(["sh", "-c", "echo two > /run/versions/release"]).status != 0,
            "append": lab.run(["sh", "-c", f"echo {version} > /run/writable/{version}"]).status,
            "threads": running() != "0",
        }
    # the kernel takes a namespace down in a worker of its own, and the server's threads with it
    deadline = time.monotonic() + 60
    while running() != "0" and time.monotonic() < deadline:
        time.sleep(0.2)
    seen[version]["left"] = running()
    seen[version]["written"] = (places["writable"] / version).read_text()
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
            "threads": True,
            "left": "0",
            "written": f"{version}\n",
        }
