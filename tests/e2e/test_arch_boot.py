"""The how-to's recipes on the tests' own pacman distribution boot: BIOS PXE, PXELINUX, the net hook, NFSv3."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from builder.bootlab.machine.guest import Machine
from builder.bootlab.timeline import Milestone
from tests.arch_images import arch_everything, arch_image
from tests.e2e.test_boot import Booted, address, booted
from tests.e2e.test_overlay_boot import check_mounts, served, sharing
from tests.require import needs_arch_build, needs_boot

pytestmark = [*needs_boot, *needs_arch_build, pytest.mark.full]


@pytest.fixture(scope="module")
def machine() -> Iterator[Booted]:
    with booted(arch_image()) as running:
        yield running


def test_root_is_the_export_and_writable(machine: Booted) -> None:
    source, kind, options = machine.inside("findmnt -nro SOURCE,FSTYPE,OPTIONS /").split()
    path = f"/disklessroot/rw/{machine.bench.manifest.image}/{machine.bench.manifest.version}/root"
    assert source == f"{machine.bench.lab.site.server}:{path}"
    assert kind == "nfs"
    assert {"rw", "vers=3", "rsize=16384", "wsize=16384"} <= set(options.split(","))
    machine.inside("echo proof > /srv/proof; sync")
    assert (machine.bench.root / "srv/proof").read_text(encoding="ascii") == "proof\n"


def test_the_kernel_was_told_what_the_how_to_says(machine: Booted) -> None:
    words = machine.inside("cat /proc/cmdline").split()
    assert {"rootfstype=nfs", "root=/dev/nfs", "ip=::::::dhcp", "rw", "rootdelay=0"} <= set(words)
    (nfsroot,) = [word for word in words if word.startswith("nfsroot=")]
    assert nfsroot.endswith("/root,v3,rsize=16384,wsize=16384")
    assert "Waiting 10 seconds for device" not in machine.guest.console.text


def test_no_unit_failed(machine: Booted) -> None:
    assert machine.inside("systemctl --failed --no-legend --plain") == ""
    assert machine.inside("systemctl is-system-running") == "running"


def test_ssh_gets_a_terminal(machine: Booted) -> None:
    done = machine.log_in("root", 'tty; stat -c "%g %a" "$(tty)"', "-tt")
    assert done.status == 0, done.output
    assert done.output.split() == ["/dev/pts/0", "5", "620"]


def test_the_image_knows_its_packages(machine: Booted) -> None:
    listed = machine.inside("pacman -Q 2>/dev/null").splitlines()
    assert len(listed) == len(machine.bench.manifest.packages)
    # of the whole image the integration tests check that; here NFS must not have changed owners or modes
    checked = machine.inside("pacman -Qkk bash coreutils util-linux shadow openssh 2>&1")
    assert checked.count(" 0 altered files") == 5, checked


def test_a_client_installs_a_package(machine: Booted) -> None:
    machine.inside("pacman --noconfirm -U /root/hello.pkg.tar.zst")
    assert machine.inside("hello") == "hello from diskless"
    assert (machine.bench.root / "usr/bin/hello").exists()


def test_the_address_survives_a_restart_of_dhcpcd(machine: Booted) -> None:
    before = address(machine)
    assert before == f"{machine.guest.address}/24"
    machine.inside("systemctl restart dhcpcd.service; sleep 5")
    assert address(machine) == before
    lines = machine.inside("cat /etc/resolv.conf").splitlines()
    assert f"nameserver {machine.bench.lab.site.server}" in lines


@pytest.mark.full
def test_a_client_makes_its_own_initramfs(machine: Booted) -> None:
    before = (machine.bench.root / "boot/initramfs-linux.img").read_bytes()
    # minutes under emulation: longer than a command may take
    machine.inside("systemd-run --quiet --unit=remake mkinitcpio -p linux")
    wait = "for second in $(seq 30); do systemctl --quiet is-active remake || exit 0; sleep 1; done; exit 1"
    assert any(machine.guest.run(wait).status == 0 for _ in range(20))
    assert machine.inside("systemctl is-failed remake || true") == "inactive"
    assert machine.inside("ls /boot") == "initramfs-linux.img\nvmlinuz-linux"
    assert abs((machine.bench.root / "boot/initramfs-linux.img").stat().st_size - len(before)) < 1 << 20


def test_power_off_does_not_hang(machine: Booted) -> None:
    machine.guest.power_off()
    assert Milestone.OFF in machine.guest.timeline.seconds


@pytest.mark.full
def test_network_disabled_with_a_fixed_resolv_conf() -> None:
    with booted(arch_image("arch-nfs-resolv")) as machine:
        words = machine.inside("cat /proc/cmdline").split()
        assert f"BOOTIF=01-{Machine().mac.replace(':', '-')}" in words
        assert "ip=:::" in words
        assert machine.inside("cat /etc/resolv.conf") == "nameserver 192.168.1.1"
        before = address(machine)
        assert before == f"{machine.guest.address}/24"
        machine.inside("systemctl try-restart systemd-networkd.service dhcpcd.service; sleep 3")
        assert address(machine) == before
        assert machine.inside("systemctl --failed --no-legend --plain") == ""
        machine.guest.power_off()


@pytest.mark.full
def test_arch_today_has_a_shared_root_and_systemd_networkd() -> None:
    with sharing(arch_image("arch-nfs")) as machine:
        check_mounts(machine, "vers=4.2")
        words = machine.inside("cat /proc/cmdline").split()
        assert {f"BOOTIF=01-{Machine().mac.replace(':', '-')}", "ip=dhcp", "ro", "rootdelay=0"} <= set(words)
        assert machine.inside("cat /sys/module/nfs/parameters/nfs4_unique_id") == Machine().mac
        before = address(machine)
        assert before == f"{machine.guest.address}/24"
        machine.inside("systemctl restart systemd-networkd.service; sleep 5")
        assert address(machine) == before
        assert machine.bench.lab.site.server in machine.inside("resolvectl dns")
        assert machine.inside("systemctl --failed --no-legend --plain") == ""
        machine.inside("pacman --noconfirm -U /root/hello.pkg.tar.zst")
        assert machine.inside("hello") == "hello from diskless"
        machine.guest.power_off()
        assert served(machine.bench) == machine.before


@pytest.mark.full
def test_users_a_script_masked_units_and_the_name_servers_of_the_boot() -> None:
    with booted(arch_everything()) as machine:
        assert machine.inside("systemctl --failed --no-legend --plain") == ""
        assert machine.inside("cat /etc/alice") == "1234"
        assert "alice" in machine.inside("getent group audio")
        epoch = machine.bench.manifest.epoch
        assert machine.inside("getent shadow root alice").splitlines() == [
            f"root:*:{epoch // 86400}::::::",
            f"alice:*:{epoch // 86400}:0:99999:7:::",
        ]
        assert machine.inside("systemctl is-enabled systemd-resolved || true") == "masked"
        line = f"nameserver {machine.bench.lab.site.server}"
        assert line in machine.inside("cat /etc/resolv.conf").splitlines()
        # started is not yet listening
        machine.inside("for second in $(seq 20); do ss -ltn | grep -q :22 && exit 0; sleep 1; done; exit 1")
        for user, number in (("root", "0"), ("alice", "1234")):
            done = machine.log_in(user, "id -u")
            assert (done.status, done.output.strip()) == (0, number), done.output
        machine.guest.power_off()
