"""What goes wrong with a guest is named rightly."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from builder.boot import Bench, BootOptions, open_bench
from builder.bootlab.diagnosis import Failure
from builder.bootlab.lab import lab_site
from builder.bootlab.machine.guest import GuestError
from builder.bootlab.nfs import choose_nfs_server
from builder.bootlab.settings import Patience
from builder.model.site import Site, SiteClient, SiteDhcp
from builder.progress.progress import Progress
from tests.images import debian_image, overlay_image
from tests.require import needs_boot
from tests.scratch import scratch

pytestmark = [*needs_boot, pytest.mark.full]


@contextlib.contextmanager
def bench(version: Path | None = None, site: Site | None = None, patience: Patience | None = None) -> Iterator[Bench]:
    options = BootOptions(work=scratch() / "boot", site=site, patience=patience or Patience())
    with open_bench(version or debian_image(), options, Progress()) as opened:
        yield opened


def fault_of(opened: Bench, name: str) -> GuestError:
    """How a guest fails to reach its login prompt."""
    console = scratch() / f"fault-{name}.console.log"
    with pytest.raises(GuestError) as raised:
        opened.power_on(console).await_login()
    assert any(str(console) in line for line in raised.value.details)
    assert raised.value.hint
    return raised.value


def edit_cmdline(opened: Bench, old: str, new: str) -> None:
    config = opened.tftp_root / "pxelinux.cfg/default"
    text = config.read_text(encoding="ascii")
    assert old in text
    config.write_text(text.replace(old, new), encoding="ascii")


def test_wrong_nfsroot() -> None:
    with bench() as opened:
        edit_cmdline(opened, "/root,vers=3", "/rooot,vers=3")
        assert fault_of(opened, "export").diagnosis.fault is Failure.WRONG_EXPORT


def test_missing_initramfs() -> None:
    with bench() as opened:
        (opened.boot_files / "initramfs.img").unlink()
        assert fault_of(opened, "initramfs").diagnosis.fault is Failure.NO_KERNEL


def test_missing_loader() -> None:
    with bench(patience=Patience(login=60)) as opened:
        for name in ("pxelinux.0", "lpxelinux.0"):
            (opened.tftp_root / name).unlink()
        assert fault_of(opened, "loader").diagnosis.fault is Failure.NO_BOOT_FILE


def test_no_address_left() -> None:
    only = "10.77.0.100"
    taken = SiteClient(mac="52:54:00:00:00:99", address=only)
    site = replace(lab_site(choose_nfs_server()), dhcp=SiteDhcp(first=only, last=only), clients=(taken,))
    with bench(site=site, patience=Patience(login=120)) as opened:
        error = fault_of(opened, "lease")
        assert error.diagnosis.fault is Failure.NO_LEASE
        assert "no address available" in error.diagnosis.evidence


def test_init_missing() -> None:
    with bench() as opened:
        (opened.root / "usr/sbin/init").unlink()
        assert fault_of(opened, "init").diagnosis.fault is Failure.NO_INIT


def test_root_that_is_no_root() -> None:
    with bench() as opened:
        edit_cmdline(opened, "/root,vers=3", ",vers=3")
        assert fault_of(opened, "no-root").diagnosis.fault is Failure.NO_INIT


def test_nfs_server_not_reached() -> None:
    with bench(patience=Patience(login=150)) as opened:
        edit_cmdline(opened, "nfsroot=10.77.0.1", "nfsroot=10.77.0.2")
        assert fault_of(opened, "server").diagnosis.fault is Failure.NO_NFS_SERVER


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("/root,vers=4.2", "/rooot,vers=4.2", Failure.WRONG_EXPORT),
        ("nfsroot=10.77.0.1", "nfsroot=10.77.0.2", Failure.NO_NFS_SERVER),
        ("nfsroot=10.77.0.1:", "nfsroot=server:", Failure.WRONG_EXPORT),
        (" ro ", " ro diskless.overlay=most ", Failure.NO_OVERLAY),
    ],
    ids=["path", "server", "name", "size"],
)
def test_shared_root_that_cannot_be_mounted(old: str, new: str, fault: Failure) -> None:
    with bench(version=overlay_image()) as opened:
        edit_cmdline(opened, old, new)
        error = fault_of(opened, f"overlay-{fault.name.lower()}")
        assert error.diagnosis.fault is fault
        assert "diskless: " in error.diagnosis.evidence


def test_dhcp_client_that_releases_the_lease() -> None:
    with bench(patience=Patience(check=60)) as opened:
        config = opened.root / "etc/dhcpcd.conf"
        kept = [
            line for line in config.read_text(encoding="ascii").splitlines() if line not in ("persistent", "inform")
        ]
        config.write_text("\n".join([*kept, "release", ""]), encoding="ascii")
        guest = opened.power_on(scratch() / "fault-release.console.log")
        with pytest.raises(GuestError) as raised:
            guest.await_login()
            guest.run("systemctl is-system-running --wait")
            guest.run("systemctl restart dhcpcd; sleep 5; echo 3 > /proc/sys/vm/drop_caches; ls -lR /usr/share | wc -l")
        assert raised.value.diagnosis.fault is Failure.ROOT_LOST
