"""What a Debian recipe may choose of its packages: answers, recommendations, files of one's own; and groups."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from builder.output.versions import read_manifest
from tests.debian_repository import make_deb
from tests.images import build_image, run_diskless
from tests.require import needs_network, needs_root, needs_tool
from tests.scratch import scratch

pytestmark = [
    needs_root,
    needs_network,
    needs_tool("mmdebstrap", "dpkg-deb"),
    pytest.mark.root,
    pytest.mark.network,
    pytest.mark.full,
]
SCRIPT = """
echo "$(echo get keyboard-configuration/layoutcode | debconf-communicate 2>/dev/null)"
grep XKBLAYOUT /etc/default/keyboard
getent group lab
id -Gn anna
mine
apt-mark showauto
"""


@functools.cache
def image() -> Path:
    directory = scratch() / "recipes" / "choices"
    directory.mkdir(parents=True)
    deb = make_deb(directory, "mine", says="mine it is", fields="Recommends: tree\n")
    script = directory / "purge.sh"
    script.write_text("#!/bin/sh\nset -e\ndpkg --purge nano\n", "ascii")
    base = "systemd-sysv linux-image-amd64 initramfs-tools udev dhcpcd nfs-common iproute2 nano"
    answer = "keyboard-configuration keyboard-configuration/layoutcode string de"
    return build_image(
        "choices",
        distribution={
            "name": "debian",
            "suite": "bookworm",
            "debconf": [answer],
            "recommends": "true",
            "package_files": [str(deb)],
        },
        packages=[*base.split(), "keyboard-configuration"],
        system={"groups": [{"name": "lab", "gid": 70000}], "users": [{"name": "anna", "groups": ["lab"]}]},
        scripts=["purge.sh"],
    )


def test_each_choice_is_in_the_image() -> None:
    done = run_diskless("shell", image(), "--output", scratch() / "shell", "--", "sh", "-c", SCRIPT)
    lines = done.stdout.replace("\r", "").splitlines()
    assert "0 de" in lines, done.stdout
    assert 'XKBLAYOUT="de"' in lines
    assert "lab:x:70000:anna" in lines
    assert "anna lab" in lines
    assert "mine it is" in lines
    # recommended by ours, and nobody asked for it by name
    assert "tree" in lines
    assert "mine" not in lines


def test_the_manifest_is_what_is_left() -> None:
    manifest = read_manifest(image())
    names = {package.name for package in manifest.packages}
    assert {"mine", "tree", "keyboard-configuration"} <= names
    assert "nano" not in names
    assert [package.name for package in manifest.removed] == ["nano"]
    assert [package.name for package in manifest.packages if package.by_script] == []
