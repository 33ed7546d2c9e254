"""What only some releases of nfs-ganesha can do."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.model.diagnostic import Level
from builder.model.ganesha import answers_with_nothing, asks_with_read_plus, exports_tmpfs
from builder.model.menu import MenuEntry
from builder.probes.server import examine_read_plus, read_boots, running_ganesha

BOOKWORM, TRIXIE = "NFS-Ganesha Release = V4.3", "NFS-Ganesha Release = V6.5"


def _entry(version: str, more: str = "") -> MenuEntry:
    cmdline = f"root=/dev/nfs nfsroot=10.0.0.1:/versions/{version}/root,vers={version}{more} ip=dhcp"
    return MenuEntry(version, version, "vmlinuz", "initramfs.img", cmdline)


@pytest.mark.parametrize(
    ("kernel", "asks"),
    [
        ("6.12.118+deb13-amd64", True),
        ("6.6.0", True),
        ("7.1.2-arch1-1", True),
        ("6.5.0-0.deb12.4-amd64", False),
        ("6.1.0-56-amd64", False),
        ("5.10.0-30-amd64", False),
        ("4.19.0", False),
    ],
)
def test_linux_asks_since_6_6(kernel: str, asks: bool) -> None:
    assert asks_with_read_plus(kernel) is asks


@pytest.mark.parametrize(
    ("ganesha", "nothing"),
    [
        (BOOKWORM, True),
        (TRIXIE, False),
        ("V2.7", False),
        ("V2.8-dev.12", True),
        ("V3.5", True),
        ("V6.1", True),
        ("V6.2", False),
        ("V10.0", False),
        ("no version at all", False),
    ],
)
def test_nfs_ganesha_answers_since_6_2(ganesha: str, nothing: bool) -> None:
    assert answers_with_nothing(ganesha) is nothing


@pytest.mark.parametrize(("ganesha", "exports"), [(BOOKWORM, True), (TRIXIE, False), ("V5.2", True), ("V5.3", False)])
def test_nfs_ganesha_passes_over_tmpfs_since_5_3(ganesha: str, exports: bool) -> None:
    assert exports_tmpfs(ganesha) is exports


def test_the_doctor_names_the_roots_that_such_a_server_breaks() -> None:
    boots = read_boots([_entry("4.2"), _entry("4.1"), _entry("3", ",rsize=16384")])
    assert len(boots.roots) == 3
    (found,) = examine_read_plus(boots, BOOKWORM)
    assert (found.level, found.name) == (Level.WARN, "/versions/4.2/root")
    assert "4.1" in (found.remedy or "")
    assert examine_read_plus(boots, TRIXIE) == []
    assert examine_read_plus(boots, None) == []
    assert examine_read_plus(read_boots([_entry("4.2", ",hard,vers=4.1")]), BOOKWORM) == []


def test_only_a_server_that_runs_here_counts(tmp_path: Path) -> None:
    assert running_ganesha(tmp_path) is None
    (tmp_path / "12").mkdir()
    (tmp_path / "12/comm").write_text("rpc.mountd\n", "ascii")
    assert running_ganesha(tmp_path) is None
    (tmp_path / "12/comm").write_text("ganesha.nfsd\n", "ascii")
    assert running_ganesha(tmp_path) is not None
