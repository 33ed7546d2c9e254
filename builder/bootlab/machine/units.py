"""What became of the units of a guest: asked of its systemd, through the root shell, once the boot is over.

Sources: systemctl(1), is-system-running and list-units; journalctl(1).
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Protocol

from builder.bootlab.namespace import Completed
from builder.inits.systemd import Systemd

_LOG_LINES = 10
# a service with Restart= that never comes up is failed for a moment only, and systemd calls the system running
_NOT_UP = "failed,activating,deactivating"
_TABLE = "--plain --no-legend --no-pager --full"


class Shell(Protocol):
    """Runs commands as root in the guest, as Guest does."""

    def run(self, command: str, *, seconds: float | None = None) -> Completed:
        """Its exit status and output."""


@dataclass(frozen=True)
class FailedUnit:
    """A unit that failed, or (state `restarting`) has failed `restarts` times and is being started again.

    log: the last lines of its journal
    """

    unit: str
    description: str
    state: str
    restarts: int
    log: tuple[str, ...]


@dataclass(frozen=True)
class Units:
    """How a boot ended, by systemd.

    state: running, degraded (units failed), starting (not finished in time) ...: systemctl(1), is-system-running
    failed: in the order of their names; unfinished: units whose start, or stop, was not over
    """

    state: str
    failed: tuple[FailedUnit, ...] = ()
    unfinished: tuple[str, ...] = ()

    @property
    def fault(self) -> str | None:
        """One line for an error message; None where every unit did what it should."""
        if self.failed:
            names = ", ".join(unit.unit for unit in self.failed)
            return f"{len(self.failed)} units failed: {names}" if len(self.failed) > 1 else f"{names} failed"
        if self.unfinished:
            return f"not finished in time: {', '.join(self.unfinished)}"
        return None if self.state in ("running", "degraded") else f"systemd is not up: {self.state}"

    @property
    def evidence(self) -> tuple[str, ...]:
        """The last lines of each failed unit, below its name."""
        return tuple(line for unit in self.failed for line in (f"{unit.unit}: {unit.state}", *unit.log))


def runs_systemd(console: str) -> bool:
    """Whether process 1 is systemd, by what it says on the console; nobody else can be asked for units."""
    return re.search(Systemd.speaks, console) is not None


def await_units(guest: Shell, seconds: float) -> None:
    """Waits until every unit of the boot has started or failed, at most `seconds`; GuestError where nobody answers."""
    guest.run(f"timeout {seconds:.0f} systemctl is-system-running --wait", seconds=seconds + 30)


def examine_units(guest: Shell) -> Units:
    """Asks systemd at this moment; GuestError where nobody answers."""
    state = guest.run("systemctl is-system-running").output.strip()
    names = _column(guest, f"systemctl list-units --all --state={_NOT_UP} {_TABLE}", 0)
    failed = tuple(unit for name in names if (unit := _examine(guest, name)) is not None)
    unfinished = _column(guest, f"systemctl list-jobs {_TABLE}", 1) if state not in ("running", "degraded") else []
    return Units(state, failed, tuple(unfinished))


def _column(guest: Shell, command: str, column: int) -> list[str]:
    rows = [line.split() for line in guest.run(command).output.splitlines()]
    return sorted(row[column] for row in rows if len(row) > column)


def _examine(guest: Shell, unit: str) -> FailedUnit | None:
    """None for a unit that is only on its way."""
    name = shlex.quote(unit)
    shown = guest.run(f"systemctl show --property=Description,ActiveState,NRestarts -- {name}").output
    values = dict(line.partition("=")[::2] for line in shown.splitlines())
    restarts = int(values.get("NRestarts") or 0)
    is_failed = values.get("ActiveState") == "failed"
    if not is_failed and not restarts:
        return None
    log = guest.run(f"journalctl --quiet --boot --no-pager --output=cat --lines={_LOG_LINES} --unit={name}").output
    state = "failed" if is_failed else "restarting"
    return FailedUnit(unit, values.get("Description", ""), state, restarts, tuple(log.splitlines()))
