"""What is read of a host: its distribution, and of what it is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.system.host import debian_suite, host_family, os_release

UBUNTU = 'NAME="Ubuntu"\nID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=noble\nUBUNTU_CODENAME=noble\n'
HOSTS = {
    "debian": ("ID=debian\nVERSION_CODENAME=trixie\n", "13.1", "debian", "trixie"),
    "sid": ("ID=debian\nVERSION_CODENAME=forky\n", "forky/sid", "debian", "forky"),
    "ubuntu": (UBUNTU, "trixie/sid", "debian", "trixie"),
    "raspbian": ("ID=raspbian\nID_LIKE=debian\nVERSION_CODENAME=bookworm\n", "12.8", "debian", "bookworm"),
    "mint": ('ID=linuxmint\nID_LIKE="ubuntu debian"\nVERSION_CODENAME=wilma\n', "trixie/sid", "debian", "trixie"),
    "lmde": ("ID=linuxmint\nID_LIKE=debian\nDEBIAN_CODENAME=bookworm\n", "12.1", "debian", "bookworm"),
    "strange": ("ID=own\nID_LIKE=debian\nVERSION_CODENAME=own\n", None, "debian", None),
    "arch": ('NAME="Arch Linux"\nID=arch\n', None, "arch", None),
    "manjaro": ("ID=manjaro\nID_LIKE=arch\nVERSION_CODENAME=Yonada\n", None, "arch", None),
    "cachyos": ('ID="cachyos"\nID_LIKE="arch"\n', None, "arch", None),
    "fedora": ("ID=fedora\nID_LIKE=rhel\n", None, None, None),
}


@pytest.mark.parametrize("name", HOSTS)
def test_a_host_is_known_by_what_it_is_like(name: str, tmp_path: Path) -> None:
    release, version, family, suite = HOSTS[name]
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text(release, "utf-8")
    if version is not None:
        (tmp_path / "etc/debian_version").write_text(f"{version}\n", "utf-8")
    assert (host_family(tmp_path), debian_suite(tmp_path)) == (family, suite)


def test_os_release_may_lie_below_usr(tmp_path: Path) -> None:
    assert os_release(tmp_path) == {}
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "usr/lib/os-release").write_text("ID='arch'\n", "utf-8")
    assert os_release(tmp_path) == {"ID": "arch"}
