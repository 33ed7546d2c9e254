"""The recipe of a shared read-only root boots: NFSv4.2 below an overlay, which takes every write. Seen from inside.

From UEFI PXE under Secure Boot: shim, GRUB.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from builder.boot import Bench, BootOptions, open_bench
from builder.bootlab.machine.firmware import Firmware
from builder.bootlab.machine.guest import Guest, Machine
from builder.bootlab.timeline import Milestone
from builder.progress.progress import Progress
from tests.e2e.test_boot import Booted, address, await_started, check_nothing_is_updated, check_secure_boot
from tests.images import authorized_key, build_image, other_suite, overlay_image
from tests.require import needs_boot, needs_ovmf
from tests.scratch import scratch

pytestmark = [*needs_boot, needs_ovmf]
LOWER = "/run/overlay/lower"
SECOND_MAC = "52:54:00:00:00:02"


@dataclass(frozen=True)
class Shared(Booted):
    """`before`: what was served when the guest was switched on."""

    before: dict[str, tuple[int, ...]]


@contextlib.contextmanager
def sharing(version: Path, firmware: Firmware = Firmware.BIOS) -> Iterator[Shared]:
    """A guest at its login prompt, with every unit started, and the served tree as it was before."""
    machine = Machine(firmware=firmware)
    with open_bench(version, BootOptions(machine=machine, work=scratch() / "boot"), Progress()) as bench:
        before = served(bench)
        guest = switched_on(bench, machine)
        yield Shared(bench, guest, before)


def switched_on(bench: Bench, machine: Machine) -> Guest:
    name = machine.mac.replace(":", "")
    guest = bench.power_on(scratch() / f"{bench.manifest.image}-{name}.console.log", machine)
    guest.await_login()
    await_started(guest)
    return guest


def served(bench: Bench) -> dict[str, tuple[int, ...]]:
    """Of every file that is served: mode, owner, size, links, and the times of its content and of itself."""
    found: dict[str, tuple[int, ...]] = {}
    for directory, directories, files in os.walk(bench.root):
        for name in [*directories, *files]:
            path = Path(directory) / name
            status = path.lstat()
            ownership = (status.st_mode, status.st_uid, status.st_gid)
            found[str(path.relative_to(bench.root))] = (
                *ownership,
                *(status.st_size, status.st_nlink, status.st_mtime_ns, status.st_ctime_ns),
            )
    return found


def check_mounts(machine: Booted, *options: str) -> None:
    """The root is an overlay, and what is below it is mounted read-only from where versions are served."""
    assert machine.inside("findmnt -nro SOURCE,FSTYPE /") == "overlay overlay"
    assert f"lowerdir={LOWER}" in machine.inside("findmnt -nro OPTIONS /").split(",")
    source, mounted = machine.inside(f"findmnt -nro SOURCE,OPTIONS {LOWER}").split()
    manifest, site = machine.bench.manifest, machine.bench.lab.site
    assert source == f"{site.server}:/disklessroot/ro/{manifest.image}/{manifest.version}/root"
    assert {"ro", *options} <= set(mounted.split(","))


@pytest.fixture(scope="module")
def machine() -> Iterator[Shared]:
    with sharing(overlay_image(), Firmware.UEFI_SECURE) as running:
        yield running


def test_every_milestone_was_passed_in_order(machine: Shared) -> None:
    order = [milestone for milestone in Milestone if milestone is not Milestone.OFF]
    assert list(machine.guest.timeline.seconds) == order
    assert list(machine.guest.timeline.seconds.values()) == sorted(machine.guest.timeline.seconds.values())
    assert "diskless: root mounted" in machine.guest.console.text


def test_secure_boot_was_on_and_the_kernel_is_locked_down(machine: Shared) -> None:
    check_secure_boot(machine)


def test_root_is_an_overlay_of_the_export(machine: Shared) -> None:
    check_mounts(machine, "vers=4.2")
    assert "ro" in machine.inside("cat /proc/cmdline").split()


def test_a_client_may_write_half_of_its_memory(machine: Shared) -> None:
    size, memory = (
        int(machine.inside(command))
        for command in (
            "df --output=size -k / | tail -n 1",
            "awk '/^MemTotal:/ { print $2 }' /proc/meminfo",
        )
    )
    assert size == pytest.approx(memory / 2, rel=0.01)


def test_no_unit_failed(machine: Shared) -> None:
    assert machine.inside("systemctl --failed --no-legend --plain") == ""
    assert machine.inside("systemctl is-active systemd-remount-fs") == "active"
    assert machine.inside("systemctl is-system-running") == "running"


def test_nothing_is_updated_at_boot(machine: Shared) -> None:
    check_nothing_is_updated(machine)


def test_programs_with_setuid_keep_root(machine: Shared) -> None:
    assert set(machine.inside("stat -c '%u %a' /usr/bin/su /usr/bin/mount /usr/bin/sudo").splitlines()) == {"0 4755"}
    nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups"
    # it reads /etc/shadow, which nobody may not
    assert machine.inside(f"{nobody} passwd --status").startswith("nobody L ")
    assert machine.guest.run(f"{nobody} cat /etc/shadow").status == 1


def test_ssh_gets_a_terminal(machine: Shared) -> None:
    done = machine.log_in("root", 'tty; stat -c "%g %a" "$(tty)"', "-tt")
    assert done.status == 0, done.output
    assert done.output.split() == ["/dev/pts/0", "5", "620"]


@pytest.mark.full
def test_the_address_survives_a_restart_of_dhcpcd(machine: Shared) -> None:
    before = address(machine)
    assert before == f"{machine.guest.address}/24"
    machine.inside("systemctl restart dhcpcd.service; sleep 5")
    assert address(machine) == before
    lines = machine.inside("cat /etc/resolv.conf").splitlines()
    assert f"nameserver {machine.bench.lab.site.server}" in lines
    machine.inside("systemctl stop dhcpcd.service; sleep 2")
    assert address(machine) == before
    machine.inside("echo 3 > /proc/sys/vm/drop_caches; ls -lR /etc/systemd | wc -l")


def test_what_a_client_writes_stays_in_its_memory(machine: Shared) -> None:
    machine.inside("echo proof > /srv/proof; echo more >> /etc/hosts; chmod 0700 /usr/share/doc; rm /etc/motd")
    machine.inside("mv /opt /opt.moved; touch /usr/bin/su; sync")
    assert machine.inside("cat /srv/proof; ls -d /opt.moved") == "proof\n/opt.moved"
    # neither the tree nor a time in it: what a client made at boot (keys, machine-id, journal) is not there either
    assert served(machine.bench) == machine.before
    assert machine.guest.run(f"touch {LOWER}/srv/proof").status == 1


def test_power_off_does_not_hang(machine: Shared) -> None:
    machine.guest.power_off()
    assert Milestone.OFF in machine.guest.timeline.seconds
    assert served(machine.bench) == machine.before


@pytest.mark.full
def test_two_clients_share_one_root() -> None:
    """Each is a client of its own for the server: without names of their own they would end each other's session."""
    with sharing(overlay_image()) as first:
        second = Booted(first.bench, switched_on(first.bench, Machine(mac=SECOND_MAC)))
        identities = [one.inside("cat /sys/module/nfs/parameters/nfs4_unique_id") for one in (first, second)]
        assert identities == [Machine().mac, SECOND_MAC]
        for one in (first, second):
            one.inside(f"echo {one.guest.address} > /srv/mine")
        for one in (first, second):
            assert one.inside("cat /srv/mine") == one.guest.address
            # the server is asked again, with a file kept open, and grants it to both
            one.inside("exec 9< /usr/bin/perl; echo 3 > /proc/sys/vm/drop_caches; cat /usr/bin/perl /bin/* > /dev/null")
            assert one.inside("dmesg | grep -ic 'nfs.*\\(expired\\|recover\\|error\\)' || true") == "0"
        names = [one.inside("cat /etc/machine-id; cat /etc/ssh/ssh_host_ed25519_key.pub") for one in (first, second)]
        assert names[0] != names[1]
        for one in (first, second):
            one.guest.power_off()
        assert served(first.bench) == first.before


@pytest.mark.full
def test_another_releases_kernel_over_version_4_2() -> None:
    """Linux 6.6 and later read with READ_PLUS, which nfs-ganesha answers with nothing before its 6.2."""
    suite = {"name": "debian", "suite": other_suite()}
    version = build_image("overlay-other", "debian-nfs-overlay", distribution=suite, files=[authorized_key()])
    with sharing(version) as machine:
        lab = machine.bench.lab
        check_mounts(machine, f"vers={lab.nfs.usable_version(lab.namespace, '4.2', machine.bench.manifest.kernel)}")
        check_nothing_is_updated(machine)
        assert "ssh_host_ed25519_key.pub" in machine.inside("ls /etc/ssh").split()
        machine.guest.power_off()
        assert served(machine.bench) == machine.before


@pytest.mark.full
def test_nfs_version_3() -> None:
    version = build_image(
        "overlay-v3",
        packages=["systemd-sysv", "linux-image-amd64", "initramfs-tools", "udev", "dbus", "dhcpcd", "nfs-common"],
        system={"hostname": "diskless"},
        network={"client": "dhcpcd", "inform": True, "interface": "eth0"},
        root={"mode": "overlay", "overlay_size": "200m", "nfs": {"version": "3", "options": ["rsize=16384"]}},
    )
    with sharing(version) as machine:
        check_mounts(machine, "vers=3", "nolock", "rsize=16384")
        assert machine.inside("df --output=size -m / | tail -n 1").strip() == "200"
        assert machine.inside("systemctl --failed --no-legend --plain") == ""
        machine.guest.power_off()
        assert served(machine.bench) == machine.before


@pytest.mark.full
def test_read_write_over_version_4() -> None:
    version = build_image(
        "rw-v4",
        packages=["systemd-sysv", "linux-image-amd64", "initramfs-tools", "udev", "dbus", "dhcpcd", "nfs-common"],
        system={"hostname": "diskless"},
        root={"mode": "rw", "nfs": {"version": "4.1"}},
    )
    with sharing(version) as machine:
        kind, options = machine.inside("findmnt -nro FSTYPE,OPTIONS /").split()
        assert kind == "nfs4"
        assert {"rw", "vers=4.1"} <= set(options.split(","))
        machine.inside("echo proof > /srv/proof; sync")
        assert (machine.bench.root / "srv/proof").read_text(encoding="ascii") == "proof\n"
        assert machine.inside("systemctl --failed --no-legend --plain") == ""
        machine.guest.power_off()
