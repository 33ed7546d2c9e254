"""The update unit as docs/ci ships it, started by systemd in a server guest, with a registry and a store of shares."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.archive.unpack import read_index
from builder.bootlab.machine.accelerator import accelerator_arguments
from builder.bootlab.namespace import Namespace
from builder.model.artifacts.manifest import INDEX
from tests.images import ROOT, run_diskless, ssh_key
from tests.inheriting import ACL
from tests.require import needs_boot, needs_server_guest, needs_tool
from tests.scratch import scratch
from tests.serverguest.disks import Drive, make_ext4
from tests.serverguest.guest import ServerGuest
from tests.serverguest.root import server_root
from tests.servers import run_registry
from tests.versions import Entry, make_version

pytestmark = [*needs_boot, *needs_server_guest, needs_tool("docker-registry", "ssh-keygen"), pytest.mark.full]

STORE = "/srv/store"
SIGNERS = "/srv/allowed_signers"
UNIT = "diskless-update@lab.service"
PORT = 5001  # the package runs one of its own on 5000
CONFIG = {
    "version": "0.1",
    "log": {"level": "error"},
    "storage": {"filesystem": {"rootdirectory": "/srv/registry"}},
    "http": {"addr": f"127.0.0.1:{PORT}"},
}
SITE = f"""server: 10.77.0.2
interface: eth0
dhcp: {{first: 10.77.0.100, last: 10.77.0.199}}
trust: {SIGNERS}
require_statement: true
"""


@pytest.fixture(scope="module")
def versions() -> tuple[Path, ...]:
    """One whose files have capabilities and ACLs, and one that changes a file of it."""
    place = scratch() / "update-unit/output"
    shared = Entry(b"shared", mode=0o775, xattrs={"system.posix_acl_access": ACL.hex()})
    made = tuple(make_version(place, {"srv/shared": shared, "etc/hostname": name}) for name in (b"one\n", b"two\n"))
    for version in made:
        attributes = {name for record in read_index(version / INDEX).files for name in record.xattrs}
        assert {"security.capability", "system.posix_acl_access"} <= attributes
    return made


@pytest.fixture(scope="module")
def guest(versions: tuple[Path, ...]) -> Iterator[ServerGuest]:
    directory = scratch() / "update-unit"
    disk = directory / "disk"
    (disk / "store").mkdir(parents=True)
    (disk / "store/site.yml").write_text(SITE, "ascii")
    signers = f"operator {ssh_key().with_suffix('.pub').read_text('ascii')}"
    (disk / "allowed_signers").write_text(signers, "ascii")
    (disk / "config.yml").write_text(json.dumps(CONFIG), "ascii")
    shutil.copytree(ROOT / "docs/ci", disk / "ci")
    with run_registry(directory / "server") as registry:
        for version, tag in zip(versions, ("stable", "testing"), strict=True):
            target = f"oci://{registry.address}/images/lab"
            done = run_diskless("upload", version, "--to", target, "--tag", tag, "--sign", ssh_key())
            assert done.returncode == 0, done.stderr
        shutil.copytree(registry.data, disk / "registry")
    make_ext4(directory / "disk.ext4", disk, room=1500, journal=True)
    with Namespace(directory) as namespace:
        root = server_root()
        drives = [Drive(directory / "disk.ext4")]
        made = ServerGuest(namespace, "server", root, drives, accelerator_arguments(root.kernel), services=True)
        set_up(made)
        yield made
        made.cut_power()


def set_up(guest: ServerGuest) -> None:
    """As docs/ci.md says, and with the file systems of `diskless storage`."""
    guest.check(
        "set -e; mount /dev/vdb /srv; cp /srv/ci/*.service /srv/ci/*.timer /etc/systemd/system/; "
        "ln -s /usr/local/sbin/diskless /usr/local/bin/diskless; mkdir /etc/diskless; "
        f"diskless storage --ro 400M --to {STORE}; systemctl daemon-reload; "
        "systemd-run --unit=registry docker-registry serve /srv/config.yml; "
        f"until ss -Hltn sport = :{PORT} | grep -q .; do sleep 1; done"
    )


def update(guest: ServerGuest, tag: str) -> str:
    """Starts the unit for a channel; what it said."""
    reference = f"oci://127.0.0.1:{PORT}/images/lab:{tag}"
    guest.check(f"printf 'REFERENCE={reference}\\nSTORE={STORE}\\nDISKLESS_IMAGE=lab\\n' > /etc/diskless/lab.conf")
    done = guest.run(f"systemctl start {UNIT}", seconds=900)
    said = guest.check(f"journalctl -b -o cat -u {UNIT}")
    assert done.status == 0, said
    assert guest.check(f"systemctl show -P Result {UNIT}").strip() == "success", said
    return said


def test_the_unit_deploys_from_a_registry(guest: ServerGuest, versions: tuple[Path, ...]) -> None:
    for version, tag in zip(versions, ("stable", "testing"), strict=True):
        update(guest, tag)
        assert json.loads(guest.check(f"cat {STORE}/boot/current/generation.json"))["active"] == {"lab": version.name}
        verified = guest.check(f"diskless verify --deep --to {STORE}")
        assert verified.strip().endswith("no fault found"), verified
        root = guest.check(f"find {STORE} -path '*{version.name}/root' -prune -print").strip()
        names = (
            "import os; print(*sorted({n for d, _, fs in os.walk('%s') for f in fs "
            "for n in os.listxattr(d+'/'+f, follow_symlinks=False)}))"
        )
        assert {"security.capability", "system.posix_acl_access"} <= set(
            guest.check(f'python3 -c "{names % root}"').split()
        )


def test_what_the_unit_keeps_is_its_own(guest: ServerGuest) -> None:
    """What it fetched and remembers of channels; nothing else of the server was written to."""
    assert guest.check("stat -c %a /var/cache/diskless /var/lib/diskless").split() == ["700", "700"]
    assert guest.check("ls /var/lib/diskless").strip()
    assert guest.check(f"systemctl show -P NoNewPrivileges -P ProtectSystem {UNIT}").split() == ["strict", "yes"]


def test_a_version_that_nobody_signed_is_refused(guest: ServerGuest) -> None:
    """The unit fails, so that whoever watches units sees it, and what is served stays."""
    before = guest.check(f"readlink {STORE}/boot/current")
    guest.check(
        f"ssh-keygen -q -t ed25519 -N '' -f /run/stranger && (printf 'stranger '; cat /run/stranger.pub) > {SIGNERS}"
    )
    done = guest.run(f"systemctl restart {UNIT}", seconds=900)
    assert done.status != 0
    assert guest.check(f"systemctl show -P Result {UNIT}").strip() == "exit-code"
    assert guest.check(f"systemctl show -P ExecMainStatus {UNIT}").strip() == "5"
    assert guest.check(f"readlink {STORE}/boot/current") == before
