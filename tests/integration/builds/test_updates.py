"""Host keys and what systemd updates: decided by what a distribution's units do, never by their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.stages import configure, updates
from builder.stages.context import Context
from tests.require import needs_root, needs_tool
from tests.scratch import scratch
from tests.stages import log, staged

pytestmark = [needs_root, needs_tool("unshare", "setpriv"), pytest.mark.root, pytest.mark.inside]
EPOCH = 1_795_000_000
NOBODY = {"client": "none", "nameservers": ["192.168.1.1"]}
UNITS = {
    "ldconfig.service": ("ConditionNeedsUpdate=|/etc", "/sbin/ldconfig -X"),
    "systemd-hwdb-update.service": ("ConditionNeedsUpdate=/etc", "systemd-hwdb update"),
    "systemd-journal-catalog-update.service": ("ConditionNeedsUpdate=/var", "journalctl --update-catalog"),
    "systemd-sysusers.service": ("ConditionNeedsUpdate = |/etc", "systemd-sysusers"),
    "systemd-update-done.service": ("ConditionNeedsUpdate=|/var", "-/usr/lib/systemd/systemd-update-done"),
    "sshd.service": ("ConditionPathExists=/etc", "/usr/bin/never"),
}
STAMPS = ("etc/.updated", "var/.updated")


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Path:
    return scratch() / "updates" / str(request.node.name).replace("/", "-")


def add_unit(context: Context, name: str, condition: str, command: str) -> None:
    path = context.workspace.tree / "usr/lib/systemd/system" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"[Unit]\n{condition}\n\n[Service]\nType=oneshot\nExecStart={command}\n", "ascii")


def add_systemd(context: Context) -> None:
    """Its units, and programs that only say how they were called."""
    for name, (condition, command) in UNITS.items():
        add_unit(context, name, condition, command)
    for program in ("ldconfig", "systemd-hwdb", "journalctl", "systemd-sysusers"):
        path = context.workspace.tree / "bin" / program
        path.write_text('#!/bin/sh\necho "ran ${0##*/} $* at $SOURCE_DATE_EPOCH"\n', "ascii")
        path.chmod(0o755)


def called(context: Context) -> list[str]:
    return [line.removeprefix("ran ") for line in log(context) if line.startswith("ran ")]


def test_an_image_says_that_it_is_up_to_date_and_is(place: Path) -> None:
    with staged(place, network=NOBODY) as context:
        add_systemd(context)
        (context.workspace.tree / "usr/lib/udev").mkdir(parents=True)
        (context.workspace.tree / "usr/lib/udev/hwdb.bin").touch()
        updates.run(context, EPOCH)
        commands = ["ldconfig -X", "systemd-sysusers ", "journalctl --update-catalog"]
        assert called(context) == [f"{command} at {EPOCH}" for command in commands]
        for stamp in STAMPS:
            lines = (context.workspace.tree / stamp).read_text("ascii").splitlines()
            assert lines[-1] == f"TIMESTAMP_NSEC={EPOCH}000000000"
            assert all(line.startswith("#") for line in lines[:-1])


@pytest.mark.parametrize("there", ["nothing", "etc/udev/hwdb.d/mine.hwdb", "etc/udev/hwdb.bin"])
def test_the_hardware_database_is_made_where_the_packages_is_not_enough(there: str, place: Path) -> None:
    with staged(place, network=NOBODY) as context:
        add_systemd(context)
        for name in [] if there == "nothing" else ["usr/lib/udev/hwdb.bin", there]:
            path = context.workspace.tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        updates.run(context, EPOCH)
        assert f"systemd-hwdb update at {EPOCH}" in called(context)


@pytest.mark.parametrize("masked", [False, True])
def test_what_the_build_cannot_update_is_left_to_each_boot_and_said(masked: bool, place: Path) -> None:
    with staged(place, network=NOBODY) as context:
        add_systemd(context)
        add_unit(context, "own-update.service", "ConditionNeedsUpdate=/etc", "/opt/own --update")
        if masked:
            own = context.workspace.tree / "etc/systemd/system/own-update.service"
            own.parent.mkdir(parents=True)
            own.symlink_to("/dev/null")
        updates.run(context, EPOCH)
        assert [(context.workspace.tree / stamp).exists() for stamp in STAMPS] == [masked, masked]
        assert bool(called(context)) == masked
        warning = "own-update.service runs own at every boot of a shared root"
        assert any(warning in line for line in context.progress.warnings) != masked


def test_a_stamp_of_the_recipe_stays_and_initscripts_have_none(place: Path) -> None:
    files = [{"path": "/etc/.updated", "text": "mine\n"}]
    with staged(place / "own", system={}, network=NOBODY, files=files) as context:
        add_systemd(context)
        configure.run(context, EPOCH)
        updates.run(context, EPOCH)
        assert (context.workspace.tree / "etc/.updated").read_text("ascii") == "mine\n"
        assert (context.workspace.tree / "var/.updated").exists()
    with staged(place / "old", "arch-initscripts", network=NOBODY) as context:
        updates.run(context, EPOCH)
        assert not any((context.workspace.tree / stamp).exists() for stamp in STAMPS)


@pytest.mark.parametrize("name", ["sshd-keygen.service", "sshdgenkeys.service", "sshd-keygen@.service"])
@pytest.mark.parametrize("base", ["debian-nfs", "arch-nfs-resolv"])
def test_host_keys_are_made_whatever_unit_the_distribution_has(base: str, name: str, place: Path) -> None:
    """Debian 13's is for a first boot, which an empty machine-id does not mean to systemd."""
    with staged(place, base, system={}, network=NOBODY) as context:
        add_unit(context, name, "ConditionFirstBoot=yes", "ssh-keygen -A")
        configure.run(context, EPOCH)
        units = context.workspace.tree / "etc/systemd/system"
        text = (units / "diskless-ssh-keys.service").read_text("ascii")
        assert "ExecStart=/usr/bin/ssh-keygen -A\n" in text
        before = {unit for line in text.splitlines() if line.startswith("Before=") for unit in line[7:].split()}
        for server in ("ssh.service", "ssh.socket", "sshd.service", "sshd.socket"):
            assert str((units / f"{server}.wants/diskless-ssh-keys.service").readlink()).endswith(
                "diskless-ssh-keys.service"
            )
            assert server in before
        assert {"sshd-keygen.service", "sshdgenkeys.service"} <= before


def test_where_the_recipe_has_host_keys_no_others_are_made(place: Path) -> None:
    files = [{"path": "/etc/ssh/ssh_host_ed25519_key", "text": "key\n", "mode": "0600"}]
    with staged(place, system={}, network=NOBODY, files=files) as context:
        configure.run(context, EPOCH)
        assert not (context.workspace.tree / "etc/systemd/system/diskless-ssh-keys.service").exists()
