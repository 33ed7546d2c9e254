"""How a server mounts the file systems of a store: names and texts as systemd's own programs have them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from builder.model.site import Site
from builder.render.server.files import Format, server_files
from builder.render.server.mounts import fstab_line, mount_unit, mount_unit_name
from tests.require import needs_tool
from tests.shares import served

PATHS = ("/disklessroot/ro", "/srv/disk-less/rw/lab.1", "/.hidden/ro", "/a_b:c/ro", "/srv/x+y@z,=~/ro", "/-x/ro")


@needs_tool("systemd-escape")
@pytest.mark.parametrize("path", PATHS)
def test_a_unit_is_called_as_systemd_calls_it(path: str) -> None:
    command = ["systemd-escape", "--path", "--suffix=mount", path]
    assert mount_unit_name(path) == subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@needs_tool("systemd-analyze")
def test_systemd_accepts_the_mount(tmp_path: Path) -> None:
    unit = tmp_path / mount_unit_name("/disklessroot/ro")
    unit.write_text(mount_unit("/disklessroot/filesystems/ro.img", "/disklessroot/ro", "ext4", "loop,nosuid"), "utf-8")
    verify = ["systemd-analyze", "verify", "--man=no", str(unit)]
    done = subprocess.run(verify, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    unit.write_text(unit.read_text("utf-8").replace("Where=/disklessroot/ro", "Where=/elsewhere"), "utf-8")
    assert subprocess.run(verify, check=False, capture_output=True, text=True).stderr != ""


def test_a_file_system_is_mounted_before_nfs_servers_start() -> None:
    text = mount_unit("/disklessroot/filesystems/ro.img", "/disklessroot/ro", "ext4", "loop,nosuid")
    assert "WantedBy=local-fs.target\n" in text  # nfs-server and nfs-ganesha come after it
    assert "RequiresMountsFor=/disklessroot/filesystems/ro.img\n" in text


@needs_tool("findmnt")
def test_a_line_of_fstab_is_one(tmp_path: Path) -> None:
    line = fstab_line("/disklessroot/filesystems/ro.img", "/disklessroot/ro", "ext4", "loop,nosuid,nodev")
    (tmp_path / "fstab").write_text(f"{line}\n", "utf-8")
    command = ["findmnt", "--tab-file", str(tmp_path / "fstab"), "-no", "SOURCE,TARGET,FSTYPE,OPTIONS"]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert found == line.split()[:4]


@needs_tool("systemd-analyze")
def test_systemd_accepts_what_confines_nfs_ganesha(tmp_path: Path) -> None:
    _, dropin = server_files(Format.GANESHA, Site(server="192.168.1.1"), served("/disklessroot"))
    assert dropin.path is not None
    unit = tmp_path / Path(dropin.path).parent.name.removesuffix(".d")
    unit.write_text("[Service]\nType=exec\nExecStart=/bin/true\n", "utf-8")
    (tmp_path / f"{unit.name}.d").mkdir()
    place = tmp_path / f"{unit.name}.d/diskless.conf"
    place.write_text(dropin.text, "utf-8")
    verify = ["systemd-analyze", "verify", "--man=no", str(unit)]
    done = subprocess.run(verify, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    place.write_text(dropin.text.replace("BindPaths=", "BindPath="), "utf-8")
    assert "BindPath" in subprocess.run(verify, check=False, capture_output=True, text=True).stderr


def test_nfs_ganesha_sees_what_is_exported_and_writes_where_clients_may() -> None:
    _, dropin = server_files(Format.GANESHA, Site(server="192.168.1.1"), served("/disklessroot"))
    lines = dropin.text.splitlines()
    assert "TemporaryFileSystem=/:ro" in lines
    shown = {line.partition("=")[2] for line in lines if line.startswith(("BindPaths=", "BindReadOnlyPaths="))}
    assert {path for path in shown if path.startswith("/disklessroot")} == {"/disklessroot/ro", "/disklessroot/rw"}
    assert "BindReadOnlyPaths=/disklessroot/ro" in lines
    assert not shown & {"/", "/disklessroot", "/home", "/root", "/srv", "/var", "/boot"}
