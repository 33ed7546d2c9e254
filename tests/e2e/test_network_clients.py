"""Whatever owns the interface once the system runs, the address that carries the root stays."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.test_boot import Booted, address, booted
from tests.images import build_image
from tests.require import needs_boot

pytestmark = [*needs_boot, pytest.mark.full]

COMMON = ["systemd-sysv", "linux-image-amd64", "initramfs-tools", "udev", "dbus", "iproute2", "nfs-common"]


def test_network_disabled_with_a_fixed_resolv_conf() -> None:
    network: dict[str, Any] = {"client": "none", "nameservers": ["192.168.1.1", "192.168.1.2"]}
    version = build_image("no-client", packages=COMMON, network=network, system={"hostname": "quiet"})
    with booted(version) as machine:
        assert machine.inside("cat /etc/resolv.conf").splitlines() == [
            "nameserver 192.168.1.1",
            "nameserver 192.168.1.2",
        ]
        before = address(machine)
        assert before == f"{machine.guest.address}/24"
        machine.inside("systemctl try-restart networking.service systemd-networkd.service dhcpcd.service; sleep 3")
        assert address(machine) == before
        assert machine.inside("systemctl --failed --no-legend --plain") == ""
        machine.guest.power_off()


def test_systemd_networkd_keeps_the_address() -> None:
    version = build_image(
        "networkd", packages=[*COMMON, "systemd-resolved"], network={"client": "systemd-networkd"}, system={}
    )
    with booted(version) as machine:
        before = address(machine)
        assert before == f"{machine.guest.address}/24"
        machine.inside("systemctl restart systemd-networkd.service; sleep 5")
        assert address(machine) == before
        assert machine.bench.lab.site.server in machine.inside("resolvectl dns")
        machine.inside("systemctl stop systemd-networkd.service systemd-networkd.socket; sleep 2")
        assert address(machine) == before
        assert machine.inside("systemctl --failed --no-legend --plain") == ""
        machine.guest.power_off()


def test_networkmanager_leaves_the_interface_of_the_root_alone() -> None:
    version = build_image(
        "networkmanager",
        packages=[*COMMON, "network-manager"],
        network={"client": "NetworkManager", "interface": "eth0"},
        system={},
    )
    with booted(version) as machine:
        before = address(machine)
        assert before == f"{machine.guest.address}/24"
        assert "eth0:ethernet:unmanaged:" in machine.inside("nmcli -t device").splitlines()
        check_resolver(machine)
        machine.inside("systemctl restart NetworkManager.service; sleep 3")
        assert address(machine) == before
        check_resolver(machine)
        machine.inside("systemctl stop NetworkManager.service; sleep 1")
        assert address(machine) == before
        assert machine.inside("systemctl --failed --no-legend --plain") == ""
        machine.guest.power_off()


def test_ifupdown_leaves_the_interface_of_the_root_alone() -> None:
    version = build_image(
        "ifupdown",
        packages=[*COMMON, "ifupdown"],
        network={"client": "ifupdown", "interface": "eth0"},
        system={},
    )
    with booted(version) as machine:
        before = address(machine)
        assert before == f"{machine.guest.address}/24"
        check_resolver(machine)
        machine.inside("systemctl restart networking.service; ifdown -a; ifup -a; sleep 1")
        assert address(machine) == before
        machine.inside("systemctl stop networking.service; sleep 1")
        assert address(machine) == before
        assert machine.inside("systemctl --failed --no-legend --plain") == ""
        machine.guest.power_off()


def check_resolver(machine: Booted) -> None:
    """The name server of the lease that the machine booted with, by way of the link that leads to it."""
    assert f"nameserver {machine.bench.lab.site.server}" in machine.inside("cat /etc/resolv.conf").splitlines()
    assert machine.inside("readlink /etc/resolv.conf") == "../run/diskless/resolv.conf"
