"""One cell: a machine is made, the README's commands run in it, and what they left is looked at."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from pathlib import Path

from builder.progress.progress import Progress
from tests.hosts.cells import Cell, Command
from tests.hosts.machine import HOMES, Machine, Places, add_user, make_base, running_machine
from tests.hosts.outside import Outside
from tests.hosts.table import Row

_LAST_LINES = 30
_BEAT_SECONDS = 60
# what each prints is a fault
_CHECKS = (
    ("checkout is clean", "git status --porcelain"),
    # pip's and the tests' own places are made by make, which a user runs as themselves
    ("checkout is its user's", "find . -path ./output/'*' -prune -o ! -user {user} -print"),
    (
        "no server is enabled",
        "! command -v systemctl >/dev/null ||"
        " systemctl list-unit-files --type=service,socket --state=enabled --no-legend | grep -Ev '^({own})' | cat",
    ),
)
# what the init system itself enables
_OWN_UNITS = "systemd-|getty@|autovt@|e2scrub_reap"


class CellRun:
    """The commands of one cell, one row each."""

    def __init__(self, cell: Cell, machine: Machine, log: Path, progress: Progress) -> None:
        self.cell = cell
        self._machine = machine
        self._log = log
        self._progress = progress
        home = HOMES[cell.user]
        self._heard = time.monotonic()
        self._directory = (
            cell.variation.place if cell.variation.place.startswith("/") else f"{home}/{cell.variation.place}"
        )

    def clone(self) -> None:
        """The user's own clone of the commit."""
        place = shlex.quote(self._directory)
        line = f"mkdir -p {place} && git clone --quiet /srv/diskless.bundle {place}"
        assert self._run(line)[0] == 0, f"git clone failed; see {self._log}"

    def row(self, command: Command) -> Row:
        """Runs a command of the README in the clone."""
        with self._progress.step(f"{self.cell.name}: {command.name}"):
            started = time.monotonic()
            status, said = self._run(f"cd {shlex.quote(self._directory)} && {command.line}")
            minutes = (time.monotonic() - started) / 60
        if status != 0:
            self._progress.note("\n".join(said[-_LAST_LINES:]))
        return self._row(command.name, _verdict(status, said), minutes)

    def checks(self) -> Iterator[Row]:
        """What the commands may not have left."""
        for name, line in _CHECKS:
            words = line.format(user=self.cell.user, own=_OWN_UNITS)
            status, said = self._run(f"cd {shlex.quote(self._directory)} && {words}")
            if said or status != 0:
                self._progress.note("\n".join([f"{self.cell.name}: {name}: no", *said[:_LAST_LINES]]))
            found = f"failed: {said[0]}" + (f" and {len(said) - 1} more" if len(said) > 1 else "") if said else "passed"
            yield self._row(name, found, 0.0)

    def _row(self, command: str, result: str, minutes: float) -> Row:
        cell = self.cell
        return Row(cell.release, cell.user, cell.variation.name, self._python(), command, result, minutes)

    def _python(self) -> str:
        _, said = self._run(f"{shlex.quote(self._directory)}/.venv/bin/python -V || python3 -V")
        return said[-1].removeprefix("Python ") if said else "none"

    def _run(self, line: str) -> tuple[int, list[str]]:
        """The exit status and the lines that were printed."""
        before = self._log.stat().st_size
        variation = self.cell.variation
        status = self._machine.run(
            line,
            self.cell.user,
            umask=variation.umask,
            environment=variation.environment,
            while_waiting=self._beat,
        )
        return status, self._log.read_bytes()[before:].decode(errors="replace").splitlines()

    def _beat(self) -> None:
        """Every few minutes a word of where it is."""
        now = time.monotonic()
        if now - self._heard >= _BEAT_SECONDS:
            self._heard = now
            with self._log.open("rb") as file:
                file.seek(max(0, self._log.stat().st_size - 300))
                last = file.read().decode(errors="replace").splitlines()[-1:]
            self._progress.note(f"{self.cell.name}: {''.join(last)[-200:]}")


def _verdict(status: int, said: list[str]) -> str:
    """With pytest's last line, where it had one."""
    counts = next((line.strip("= ") for line in reversed(said) if line.startswith("==") and " passed" in line), "")
    outcome = "passed" if status == 0 else f"failed: exit status {status}"
    return f"{outcome}: {counts}" if counts else outcome


def run_cell(
    cell: Cell, commands: list[Command], packages: list[str], outside: Outside, places: Places, progress: Progress
) -> Iterator[Row]:
    """Every command and check of a cell; the log is NAME.log below the places' logs."""
    log = places.logs / f"{cell.name}.log"
    log.write_bytes(b"")
    with progress.step(f"{cell.name}: make the machine"):
        base = make_base(places, cell.release, packages, outside, log)
    with running_machine(places, cell.release, base, outside, log, [places.bundle]) as machine:
        if cell.user != "root":
            add_user(machine)
        run = CellRun(cell, machine, log, progress)
        run.clone()
        for command in commands:
            yield run.row(command)
        yield from run.checks()
