"""The Debian recipe, with a test key added, boots: UEFI PXE under Secure Boot, DHCP, shim, GRUB, NFSv3 read-write.

Seen from inside.
The image is of another release than the host: of what only one of them has nothing may be missing.
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
from builder.bootlab.machine.units import await_units, examine_units
from builder.bootlab.namespace import Completed
from builder.bootlab.settings import Patience
from builder.bootlab.timeline import Milestone
from builder.progress.progress import Progress
from tests.images import other_image, ssh_key
from tests.require import needs_boot, needs_ovmf
from tests.scratch import scratch

# `make test` boots the shared root of Debian the same way, and Arch's of its own
pytestmark = [*needs_boot, needs_ovmf, pytest.mark.full]


@dataclass(frozen=True)
class Booted:
    bench: Bench
    guest: Guest

    def inside(self, command: str) -> str:
        done = self.guest.run(command)
        assert done.status == 0, f"{command}: {done.output}"
        return done.output.strip()

    def log_in(self, user: str, command: str, *more: str) -> Completed:
        """Runs a command over ssh, from the lab's server, which sees no key of the host."""
        lab = self.bench.lab
        lab.run(["sh", "-c", 'umask 077; printf %s "$1" > /run/key', "sh", ssh_key().read_text(encoding="ascii")])
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes", "LogLevel=ERROR"]
        words = ["ssh", *more, "-i", "/run/key", *(f"-o{option}" for option in options)]
        return lab.run([*words, f"{user}@{self.guest.address}", command])


@contextlib.contextmanager
def booted(version: Path, firmware: Firmware = Firmware.BIOS) -> Iterator[Booted]:
    """A guest at its login prompt, with every unit started."""
    machine = Machine(firmware=firmware)
    options = BootOptions(machine=machine, work=scratch() / "boot")
    with open_bench(version, options, Progress()) as bench:
        guest = bench.power_on(scratch() / f"{version.parent.name}.console.log", machine)
        guest.await_login()
        await_started(guest)
        yield Booted(bench, guest)


def await_started(guest: Guest) -> None:
    """Until every unit has started; one that failed fails the test, as `diskless boot --strict` would end."""
    await_units(guest, Patience().units)
    units = examine_units(guest)
    assert units.fault is None, "\n".join([units.fault, *units.evidence])


def check_nothing_is_updated(machine: Booted) -> None:
    """Of what systemd does when /usr has changed nothing ran, although it was looked at."""
    listed = machine.inside(
        "grep -ls ^ConditionNeedsUpdate= /usr/lib/systemd/system/*.service /etc/systemd/system/*.service"
    )
    units = sorted({path.rpartition("/")[2] for path in listed.split()})
    assert units  # Debian 12 has one of them, Debian 13 more
    for unit in units:
        shown = machine.inside(f"systemctl show --property=ConditionResult,ConditionTimestampMonotonic {unit}")
        values = dict(line.split("=") for line in shown.splitlines())
        assert (unit, values["ConditionResult"]) == (unit, "no")
        assert (unit, values["ConditionTimestampMonotonic"]) != (unit, "0")


@pytest.fixture(scope="module")
def machine() -> Iterator[Booted]:
    with booted(other_image(), Firmware.UEFI_SECURE) as running:
        yield running


def address(machine: Booted) -> str:
    return machine.inside("ip -4 -o address show scope global | awk '{print $4}'")


def test_every_milestone_was_passed_in_order(machine: Booted) -> None:
    order = [milestone for milestone in Milestone if milestone is not Milestone.OFF]
    assert list(machine.guest.timeline.seconds) == order
    assert list(machine.guest.timeline.seconds.values()) == sorted(machine.guest.timeline.seconds.values())


def check_secure_boot(machine: Booted) -> None:
    """The firmware had it on, and the kernel knows."""
    assert "Secure boot enabled" in machine.inside("dmesg | grep secureboot:")
    assert "[integrity]" in machine.inside("cat /sys/kernel/security/lockdown")
    assert machine.inside("cat /proc/cmdline").startswith("BOOT_IMAGE=")


def test_secure_boot_was_on_and_the_kernel_is_locked_down(machine: Booted) -> None:
    check_secure_boot(machine)


def test_root_is_the_export_and_writable(machine: Booted) -> None:
    source, kind, options = machine.inside("findmnt -nro SOURCE,FSTYPE,OPTIONS /").split()
    path = f"/disklessroot/rw/{machine.bench.manifest.image}/{machine.bench.manifest.version}/root"
    assert source == f"{machine.bench.lab.site.server}:{path}"
    assert kind == "nfs"
    assert {"rw", "vers=3", "rsize=16384", "wsize=16384"} <= set(options.split(","))


def test_what_a_guest_writes_is_on_the_server(machine: Booted) -> None:
    machine.inside("echo proof > /srv/proof; sync")
    assert (machine.bench.root / "srv/proof").read_text(encoding="ascii") == "proof\n"


# what a package manager, and whatever it runs, does to files of its root: each line must end well
AS_ROOT = """
set -e; mkdir /srv/work; chmod 0777 /srv/work; cd /srv/work; echo one > file
chown 7:8 file; chgrp 9 file; chmod 0400 file; grep -q one file; echo two >> file; touch -d 2020-01-01 file
chmod 4755 file; test "$(stat -c '%u:%g %a' file)" = '7:9 4755'
mknod null c 1 3; mknod loop b 7 0; mkfifo pipe; ln file link; ln -s file symlink; chown -h 7:8 symlink; mv link other
mkdir -m 0700 theirs; chown 7 theirs; echo in > theirs/in; rm theirs/in
mkdir group; chgrp 44 group; chmod 2775 group; touch group/new; test "$(stat -c %g group/new)" = 44
truncate -s 100000 file; flock file true; dd if=/dev/zero of=synced bs=64k count=16 conv=fsync 2>/dev/null
setpriv --reuid=1000 --regid=1000 --groups=1000,44 sh -c 'set -e; echo > own; chgrp 44 own; chmod 2750 own'
test "$(stat -c '%u:%g %a' own)" = '1000:44 2750'
if setpriv --reuid=1000 --regid=1000 --clear-groups sh -c 'echo three >> file' 2>/dev/null; then exit 1; fi
if setpriv --reuid=1000 --regid=1000 --clear-groups ls theirs 2>/dev/null; then exit 1; fi
mkdir -p package/DEBIAN package/opt/given; echo given > package/opt/given/file
chown 5:6 package/opt/given/file; chmod 4711 package/opt/given/file
printf 'Package: given\nVersion: 1\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: x\n' \
    > package/DEBIAN/control
dpkg-deb -b package given.deb > /dev/null; dpkg -i given.deb > /dev/null
test "$(stat -c '%u:%g %a' /opt/given/file)" = '5:6 4711'; dpkg -P given > /dev/null
"""


def test_root_of_a_client_owns_files_of_every_user(machine: Booted) -> None:
    machine.inside(AS_ROOT)
    files = {path.name: path.lstat() for path in (machine.bench.root / "srv/work").iterdir()}
    assert (files["null"].st_mode, files["null"].st_rdev) == (0o20644, os.makedev(1, 3))
    assert (files["file"].st_uid, files["file"].st_gid, files["file"].st_nlink) == (7, 9, 2)
    assert (files["symlink"].st_uid, files["own"].st_uid) == (7, 1000)


def test_no_unit_failed(machine: Booted) -> None:
    assert machine.inside("systemctl --failed --no-legend --plain") == ""
    assert machine.inside("systemctl is-active systemd-remount-fs") == "active"
    assert machine.inside("systemctl is-system-running") == "running"


def test_terminals_are_as_ssh_wants_them(machine: Booted) -> None:
    assert {"gid=5", "mode=620"} <= set(machine.inside("findmnt -nro OPTIONS /dev/pts").split(","))


def test_ssh_gets_a_terminal(machine: Booted) -> None:
    done = machine.log_in("root", 'tty; stat -c "%g %a" "$(tty)"', "-tt")
    assert done.status == 0, done.output
    assert done.output.split() == ["/dev/pts/0", "5", "620"]


def test_host_keys_were_made_at_first_boot(machine: Booted) -> None:
    keys = sorted(path.name for path in (machine.bench.root / "etc/ssh").glob("ssh_host_*_key"))
    assert keys == ["ssh_host_ecdsa_key", "ssh_host_ed25519_key", "ssh_host_rsa_key"]
    assert len((machine.bench.root / "etc/machine-id").read_text(encoding="ascii").strip()) == 32


def test_nothing_is_updated_at_boot(machine: Booted) -> None:
    check_nothing_is_updated(machine)


def test_the_name_service_is_the_leases(machine: Booted) -> None:
    lines = machine.inside("cat /etc/resolv.conf").splitlines()
    assert f"nameserver {machine.bench.lab.site.server}" in lines


def test_the_address_survives_a_restart_of_dhcpcd(machine: Booted) -> None:
    before = address(machine)
    assert before == f"{machine.guest.address}/24"
    machine.inside("systemctl restart dhcpcd.service; sleep 5")
    assert address(machine) == before
    assert machine.inside("systemctl is-active dhcpcd.service") == "active"
    machine.inside("echo 3 > /proc/sys/vm/drop_caches; ls -lR /etc/systemd | wc -l")


def test_nothing_outside_is_reached(machine: Booted) -> None:
    assert machine.inside("ip route show default") == ""
    host = machine.bench.lab.run(["ip", "-o", "link"])
    assert {line.split(": ")[1] for line in host.output.splitlines()} == {"lo", "lab0", "tap0"}


def test_power_off_does_not_hang(machine: Booted) -> None:
    machine.guest.power_off()
    assert Milestone.OFF in machine.guest.timeline.seconds
