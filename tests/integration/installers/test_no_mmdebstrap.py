"""A Debian image where no mmdebstrap is installed, as on Arch Linux: the recipe's mirror lends its own."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from builder.output.versions import read_manifest
from tests.images import DISKLESS, build_image, write_recipe
from tests.require import needs_network, needs_root, needs_tool
from tests.scratch import scratch

pytestmark = [
    needs_root,
    needs_network,
    needs_tool("perl", "h2ph"),
    pytest.mark.root,
    pytest.mark.network,
    pytest.mark.full,
]

PACKAGES = ["systemd-sysv", "linux-image-amd64", "initramfs-tools", "udev", "nfs-common"]
CHANGES: dict[str, Any] = {
    "image": "lent",
    "packages": PACKAGES,
    "system": {"hostname": "lent"},
    "network": {"client": "none", "nameservers": ["192.168.1.1"]},
}


def without_mmdebstrap(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    """A command that sees neither mmdebstrap nor the headers that Debian's perl brings, as Arch's does not."""
    find = ["perl", "-e", 'require "syscall.ph"; require "sys/ioctl.ph"; print "$INC{$_}\n" for keys %INC']
    found = subprocess.run(find, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    headers = [path for path in found if path.endswith(("/syscall.ph", "/ioctl.ph"))]
    hidden = [path for path in ("/usr/bin/mmdebstrap", *headers) if Path(path).exists()]
    assert len(headers) >= 2
    script = "".join(f"mount --bind /dev/null {shlex.quote(path)}; " for path in hidden)
    script += f"mount -t tmpfs tmpfs /usr/share/mmdebstrap; exec {shlex.join(map(str, argv))}"
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def test_the_same_version_comes_out() -> None:
    assert without_mmdebstrap("mmdebstrap", "--version").returncode == 126
    assert "syscall.ph" in without_mmdebstrap("perl", "-e", 'require "syscall.ph"').stderr
    usual = read_manifest(build_image(**CHANGES))
    directory = scratch() / "recipes" / "lent-2"
    directory.mkdir(parents=True)
    recipe = write_recipe(directory, **CHANGES)
    done = without_mmdebstrap(DISKLESS, "build", recipe, "--fresh", "--output", scratch() / "other")
    assert done.returncode == 0, done.stderr
    assert "this host has no mmdebstrap" in done.stderr
    assert read_manifest(Path(done.stdout.strip())).version == usual.version
