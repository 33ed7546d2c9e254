"""Configure: accounts, masked units, and what the image has not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from builder.errors import InputError
from builder.stages import configure
from builder.stages.context import Context
from tests.require import needs_root, needs_tool
from tests.scratch import scratch
from tests.stages import log, staged

pytestmark = [needs_root, needs_tool("unshare", "setpriv"), pytest.mark.root, pytest.mark.inside]
EPOCH = 20000 * 86400
NOBODY = {"client": "none", "nameservers": ["192.168.1.1"]}
UNITS = ("rpcbind.service", "rpcbind.socket", "getty@.service", "systemd-resolved.service")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDah5vxWpLY64+CQh5jUQ5xnc5WSNklYenijjkkllyfT admin"


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Path:
    return scratch() / "configure" / str(request.node.name).replace("/", "-")


def add_units(context: Context) -> Path:
    directory = context.workspace.tree / "usr/lib/systemd/system"
    directory.mkdir(parents=True)
    for name in UNITS:
        (directory / name).write_text("[Unit]\n", "ascii")
    return context.workspace.tree / "etc/systemd/system"


@pytest.mark.parametrize("base", ["debian-nfs", "arch-nfs-resolv"])
def test_masked_units_lead_to_nothing(base: str, place: Path) -> None:
    masked = ["rpcbind", "rpcbind.socket", "getty@tty1"]
    with staged(place, base, system={"masked": masked}, network=NOBODY) as context:
        units = add_units(context)
        configure.run(context, EPOCH)
        for name in ("rpcbind.service", "rpcbind.socket", "getty@tty1.service"):
            assert str((units / name).readlink()) == "/dev/null"


@pytest.mark.parametrize("base", ["debian-nfs", "arch-nfs-resolv"])
@pytest.mark.parametrize(
    ("name", "unit", "near"),
    [
        ("rpcbin", "rpcbin.service", "did you mean rpcbind.service"),
        ("rpcbnd.socket", "rpcbnd.socket", "rpcbind.socket"),
        ("gety@tty1", "gety@tty1.service", "did you mean getty@.service"),
        ("zzz.timer", "zzz.timer", "add the package that brings it"),
    ],
)
def test_a_mistyped_masked_unit_is_named(base: str, name: str, unit: str, near: str, place: Path) -> None:
    with staged(place, base, system={"masked": [name]}, network=NOBODY) as context:
        add_units(context)
        with pytest.raises(InputError) as caught:
            configure.run(context, EPOCH)
        assert caught.value.message == f"system.masked: no package brings the unit {unit}"
        assert near in (caught.value.hint or "")


def test_a_client_that_no_package_brings_is_the_networks_fault(place: Path) -> None:
    with staged(place, system={}, network={"client": "NetworkManager"}) as context:
        add_units(context)
        with pytest.raises(InputError, match=r"network\.client: no package brings the unit NetworkManager\.service"):
            configure.run(context, EPOCH)


def test_under_initscripts_nothing_is_linked(place: Path) -> None:
    system = {"init": "initscripts", "masked": ["ntpd"]}
    with staged(place, "arch-initscripts", system=system, network=NOBODY) as context:
        configure.run(context, EPOCH)
        assert not (context.workspace.tree / "etc/systemd").exists()
        assert "!ntpd" in (context.workspace.tree / "etc/rc.conf").read_text("ascii")


def accounts(context: Context) -> None:
    etc = context.workspace.tree / "etc"
    (etc / "passwd").write_text("root:x:0:0::/root:/bin/sh\nwww:x:33:33::/srv/www:/bin/sh\n", "ascii")
    (etc / "group").write_text("root:x:0:\nwww:x:33:\naudio:x:29:\n", "ascii")
    (etc / "shadow").write_text("root::1::::::\nwww:!:1::::::\n", "ascii")
    (etc / "shadow").chmod(0o640)
    skeleton = etc / "skel/.config/deep"
    skeleton.mkdir(parents=True)
    (skeleton / "file").write_text("skeleton\n", "ascii")
    (etc / "skel/run").write_text("#!/bin/sh\n", "ascii")
    (etc / "skel/run").chmod(0o755)


def test_homes_are_furnished_and_belong_to_their_users(place: Path) -> None:
    users: list[dict[str, Any]] = [
        {"name": "root", "ssh_keys": [KEY]},
        {"name": "alice", "ssh_keys": [KEY], "groups": ["audio"]},
        {"name": "www", "ssh_keys": [KEY]},
    ]
    with staged(place, system={"users": users}, network=NOBODY) as context:
        accounts(context)
        configure.run(context, EPOCH)
        tree = context.workspace.tree
        wanted = {
            "home/alice": (0o700, 1000),
            "home/alice/.config/deep": (0o755, 1000),
            "home/alice/.config/deep/file": (0o644, 1000),
            "home/alice/run": (0o755, 1000),
            "home/alice/.ssh": (0o700, 1000),
            "home/alice/.ssh/authorized_keys": (0o600, 1000),
            "root/.ssh/authorized_keys": (0o600, 0),
            "srv/www": (0o700, 33),
            "srv/www/.ssh/authorized_keys": (0o600, 33),
            "etc/shadow": (0o640, 0),
        }
        found = {path: (tree / path).stat() for path in wanted}
        assert {path: (info.st_mode & 0o7777, info.st_uid) for path, info in found.items()} == wanted
        assert not (tree / "srv/www/.config").exists()  # that account was there before
        assert (tree / "etc/shadow").read_text("ascii").startswith("root:*:20000:")


def test_an_empty_password_is_shut_also_without_users_and_said_in_the_log(place: Path) -> None:
    with staged(place, system={}, network=NOBODY) as context:
        accounts(context)
        before = (context.workspace.tree / "etc/passwd").read_bytes()
        configure.run(context, EPOCH)
        assert (context.workspace.tree / "etc/shadow").read_text("ascii") == "root:*:1::::::\nwww:!:1::::::\n"
        assert (context.workspace.tree / "etc/passwd").read_bytes() == before
        assert "# the account root had an empty password: no password opens it now" in log(context)


def test_a_home_that_a_package_made_a_link_leads_nowhere_else(place: Path) -> None:
    users = [{"name": "alice", "ssh_keys": [KEY]}]
    with staged(place, system={"users": users}, network=NOBODY) as context:
        accounts(context)
        outside = place / "outside"
        outside.mkdir()
        (context.workspace.tree / "home").mkdir()
        (context.workspace.tree / "home/alice").symlink_to(outside)
        with pytest.raises(InputError, match="/home/alice cannot be made"):
            configure.run(context, EPOCH)
        assert not list(outside.iterdir())
