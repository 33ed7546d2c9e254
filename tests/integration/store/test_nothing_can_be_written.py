"""A server whose disks became read-only, without /tmp and without a home: what only looks at it works there."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from builder.errors import HostError
from builder.output.given import SIGNATURE
from builder.output.signature import sign_version, verify_signature
from builder.system.guarded.held import HeldDirectory
from tests.images import DISKLESS, ROOT, ssh_key
from tests.require import needs_root, needs_tool
from tests.scratch import new_place
from tests.stores import deployed, version

pytestmark = [needs_root, pytest.mark.root]
# the same tree, and nothing below it can be changed
_READ_ONLY = """
for directory in /tmp /dev/shm /run; do mount -t tmpfs -o ro,mode=0555 none $directory; done
mount --rbind / /mnt
mount -o remount,bind,ro /mnt
exec chroot /mnt sh -c 'cd / && exec "$@"' sh "$@"
"""


@functools.cache
def store() -> Path:
    place = new_place() / "store"
    deployed(place, version("1"), version("2"), version("1", image="desk", mode="rw"))
    return place


def run_read_only(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", _READ_ONLY, "sh", DISKLESS]
    return subprocess.run(
        [*command, *map(str, arguments)],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


LOOKS = {
    "status": "generation 3 of",
    "status --json": '"menus_current": true',
    "verify": "no fault found",
    "verify --deep": "no fault found",
    "prune --keep 1 --dry-run": "clients booted it until ",
    "server-config --format dnsmasq-proxy": "/etc/dnsmasq.d/diskless.conf",
}


@pytest.mark.parametrize("command", LOOKS)
def test_what_only_looks_works(command: str) -> None:
    done = run_read_only(*command.split(), "--to", store())
    assert done.returncode == 0, done.stderr
    assert LOOKS[command] in done.stdout


def test_what_looks_at_no_store_works() -> None:
    for command in (("check", ROOT / "recipes/debian-nfs.yml"), ("diff", version("1"), version("2"))):
        done = run_read_only(*command)
        assert (done.returncode, done.stderr) == (0, "")


def test_the_doctor_says_that_nothing_can_be_written() -> None:
    of_store = json.loads(run_read_only("doctor", "--to", store(), "--wait", "1", "--json").stdout)
    of_host = json.loads(run_read_only("doctor", "--json").stdout)
    for found, names in ((of_store, ["room"]), (of_host, ["output", "cache"])):
        levels = {entry["name"]: (entry["level"], entry["text"]) for entry in found}
        for name in names:
            assert levels[name][0] == "fail"
            assert levels[name][1].endswith("is on a read-only file system")


@pytest.mark.parametrize("command", ["rollback", "prune --force", "refresh", "adopt-kernel desk", "deploy"])
def test_what_writes_says_why_it_cannot(command: str) -> None:
    version_too = [version("3")] if command == "deploy" else []
    done = run_read_only(*command.split(), *version_too, "--to", store())
    assert (done.returncode, done.stdout) == (HostError.exit_code, "")
    assert "Read-only file system\nhint: that file system is read-only" in done.stderr


@needs_tool("ssh-keygen")
def test_a_signature_is_checked_without_a_file_in_tmp(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    signed = tmp_path / "signed"
    shutil.copytree(version("3"), signed)
    sign_version(HeldDirectory.at(signed), ssh_key())
    signers = tmp_path / "signers"
    signers.write_text(f"builder {ssh_key().with_suffix('.pub').read_text('ascii')}", encoding="ascii")
    manifest, signature = ((signed / name).read_bytes() for name in ("manifest.json", SIGNATURE))
    assert verify_signature(manifest, signature, signers) == ("builder",)
