"""What became of a guest's units, asked of programs that answer as systemd's do."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from builder.boot import BootResult
from builder.bootlab.machine.units import FailedUnit, Units, await_units, examine_units, runs_systemd
from builder.bootlab.namespace import Completed
from builder.cli.commands.image.boot import describe_json, describe_text
from builder.model.version import Version

# the columns are systemd 252's and 257's
SYSTEMCTL = """\
#!/bin/sh
case $* in
"is-system-running --wait") cat {place}/waited; exec sleep {wait} ;;
is-system-running) cat {place}/state; exit 1 ;;
"list-units --all --state=failed,activating,deactivating --plain --no-legend --no-pager --full") cat {place}/units ;;
"list-jobs --plain --no-legend --no-pager --full") cat {place}/jobs ;;
"show --property=Description,ActiveState,NRestarts -- "*) cat {place}/shown; echo "Description=What = $4" ;;
*) echo "called with $*"; exit 64 ;;
esac
"""
JOURNALCTL = """\
#!/bin/sh
case $* in *--boot*--lines=10*) echo "said by ${{6#--unit=}}"; echo "its last" ;; *) exit 64 ;; esac
"""


class Guest:
    """A shell with those programs."""

    def __init__(self, place: Path, **answers: str) -> None:
        values = {
            "state": "running\n",
            "waited": "",
            "units": "",
            "jobs": "",
            "shown": "ActiveState=failed\n",
            **answers,
        }
        for name, text in values.items():
            (place / name).write_text(text, "ascii")
        for name, text in (("systemctl", SYSTEMCTL), ("journalctl", JOURNALCTL)):
            (place / name).write_text(text.format(place=place, wait=answers.get("wait", "0")), "ascii")
            (place / name).chmod(0o755)
        self._environment = {**os.environ, "PATH": f"{place}:{os.environ['PATH']}"}
        self.statuses: list[int] = []

    def run(self, command: str, *, seconds: float | None = None) -> Completed:
        done = subprocess.run(
            ["sh", "-c", command], env=self._environment, capture_output=True, encoding="utf-8", check=False
        )
        self.statuses.append(done.returncode)
        return Completed(done.returncode, done.stdout)


def test_all_is_well(tmp_path: Path) -> None:
    units = examine_units(Guest(tmp_path))
    assert units == Units("running")
    assert units.fault is None


def test_failed_units_are_named_with_their_own_last_lines(tmp_path: Path) -> None:
    rows = (
        "ssh.service loaded failed failed OpenBSD Secure Shell server\n"
        r"mnt-a\x2db.mount loaded failed failed /mnt/a-b" + "\n"
    )
    units = examine_units(Guest(tmp_path, state="degraded\n", units=rows))
    assert [unit.unit for unit in units.failed] == [r"mnt-a\x2db.mount", "ssh.service"]
    for unit in units.failed:
        assert unit == FailedUnit(unit.unit, f"What = {unit.unit}", "failed", 0, (f"said by {unit.unit}", "its last"))
    assert units.fault == r"2 units failed: mnt-a\x2db.mount, ssh.service"
    assert units.evidence[:3] == (r"mnt-a\x2db.mount: failed", r"said by mnt-a\x2db.mount", "its last")


def test_a_service_that_is_started_again_and_again_is_no_success(tmp_path: Path) -> None:
    rows = "loop.service loaded activating start-pre Loop\n"
    units = examine_units(Guest(tmp_path, units=rows, shown="ActiveState=activating\nNRestarts=3\n"))
    assert (units.state, units.fault) == ("running", "loop.service failed")
    assert (units.failed[0].restarts, units.evidence[0]) == (3, "loop.service: restarting")


@pytest.mark.parametrize("shown", ["ActiveState=activating\nNRestarts=0\n", "ActiveState=activating\n", ""])
def test_a_unit_on_its_way_has_not_failed(shown: str, tmp_path: Path) -> None:
    rows = "sys-kernel.device loaded activating tentative Device\n"
    assert examine_units(Guest(tmp_path, units=rows, shown=shown)) == Units("running")


def test_what_has_not_finished_is_named(tmp_path: Path) -> None:
    guest = Guest(
        tmp_path, state="starting\n", wait="60", jobs="12 slow.service start running\n3 a.target start waiting\n"
    )
    await_units(guest, 1)
    assert guest.statuses == [124]
    units = examine_units(guest)
    assert units == Units("starting", (), ("a.target", "slow.service"))
    assert units.fault == "not finished in time: a.target, slow.service"


@pytest.mark.parametrize("state", ["maintenance", "offline", "unknown", ""])
def test_a_systemd_that_is_not_up_is_a_fault(state: str, tmp_path: Path) -> None:
    fault = examine_units(Guest(tmp_path, state=f"{state}\n")).fault
    assert fault == f"systemd is not up: {state}"


def test_other_inits_are_not_asked() -> None:
    assert runs_systemd("[    9.000000] systemd[1]: systemd 252 running in system mode (+PAM)\n")
    assert not runs_systemd("INIT: version 3.06 booting\n[    4.0] systemd-udevd[112]: starting\n")


def test_the_result_holds_them_for_people_and_for_programs() -> None:
    failed = FailedUnit("ssh.service", "OpenBSD Secure Shell server", "failed", 0, ("no hostkeys available",))
    result = BootResult(Version("20260101-00000000"), Path("console"), units=Units("degraded", (failed,), ()))
    assert "failed: ssh.service, OpenBSD Secure Shell server\n    no hostkeys available" in describe_text(result)
    described = describe_json(result)
    assert described["state"] == "degraded"
    assert described["failed_units"] == [
        {
            "unit": "ssh.service",
            "description": "OpenBSD Secure Shell server",
            "state": "failed",
            "restarts": 0,
            "log": ("no hostkeys available",),
        }
    ]
    assert described["unfinished_units"] == ()
    unknown = describe_json(BootResult(Version("20260101-00000000"), Path("console")))
    assert (unknown["state"], unknown["failed_units"], unknown["unfinished_units"]) == (None, None, None)
