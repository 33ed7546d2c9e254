"""A command stopped at a system call while the disk is full, and the next one on the disk that is full still.

Runs in a mount namespace of its own: python -m tests.full_disk_crash KIND CASE ACTION WHICH PLACE VERSION... prints
what went wrong, a line each. WHICH is `names` for the calls that give or take a name, `sites` for one of each kind.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from builder.deploy import prune, rollback
from builder.errors import DisklessError
from builder.model.generation import BootName
from builder.store.inspection.verification import Severity, verify
from builder.store.layout import find_store
from builder.store.pruning import PruneOptions
from tests.crash import KILL, Call, Scenario, namings, parse_calls, run_traced, sites, tracing
from tests.full_disks import fill, is_full, make_old, make_store, mount_disk, mount_store
from tests.stores import active, faults, named, quiet, unreferenced


class FullDisk:
    """A full disk with a store, as often as it is wanted: each time a copy of the same image."""

    def __init__(self, kind: str, case: str, place: Path, versions: Sequence[Path]) -> None:
        self._place = place
        self._disk = place / "disk"
        self.store = place / "store"
        self._disk.mkdir()
        mount_disk(kind, place / "image", self._disk)
        mount_store(self._disk, place, "all")
        make_store(self.store, place, versions)
        if case == "old":
            make_old(self.store)
        fill(self._disk / "filler", "bytes")
        assert is_full(self._disk / "filler")
        self.unmount()

    def mount(self) -> None:
        """Anew, as it was at the beginning."""
        subprocess.run(["cp", "--sparse=always", self._place / "image", self._place / "copy"], check=True)
        subprocess.run(["mount", "-o", "loop", self._place / "copy", self._disk], check=True)
        subprocess.run(["mount", "--bind", self._disk / "part", self.store], check=True)

    def unmount(self) -> None:
        """With all that was done to it."""
        for target in (self.store, self._disk):
            subprocess.run(["umount", target], check=True)


def main(kind: str, case: str, action: str, which: str, place: Path, versions: Sequence[Path]) -> list[str]:
    """What went wrong, at which call."""
    disk = FullDisk(kind, case, place, versions)
    scenario = Scenario(f"{action} on a full disk", disk.store, action, "lab" if action == "rollback" else "", "")
    disk.mount()
    log = place / "trace"
    status, message = run_traced(scenario, disk.store, tracing(log))
    assert status == 0, message
    disk.unmount()
    calls = parse_calls(log.read_text("utf-8", "replace"), disk.store)
    chosen = namings(calls) if which == "names" else sites(calls)
    assert len(chosen) > 5, [call.what for call in calls]
    found = []
    for call in chosen:
        disk.mount()
        found += [f"{call.name} {call.number} {call.what}: {wrong}" for wrong in stopped(scenario, call, disk.store)]
        disk.unmount()
    return found


def stopped(scenario: Scenario, call: Call, store: Path) -> list[str]:
    """What is wrong after a stop at a call, and after the same command and a prune that follow on the full disk."""
    before = active(store)
    trace = [f"--inject={call.name}:{KILL}:when={call.number}", "-o", "/dev/null", "-e", f"trace={call.name}"]
    status, message = run_traced(scenario, store, trace)
    wrong = [] if status == -9 else [f"was not killed: {status} {message}"]
    # what clients boot by themselves is whole
    boots = f"lab {BootName.parse(active(store)).version}"
    wrong += [str(finding) for finding in verify(find_store(store), deep=True) if finding.where == boots]
    try:
        if scenario.action == "rollback" and active(store) == before:
            rollback(store, "lab", None, quiet())
            wrong += [] if active(store) != before else ["the rollback that followed changed nothing"]
        prune(store, PruneOptions(keep=1, force=True), quiet())
    except (OSError, DisklessError) as error:
        wrong.append(repr(error))
    wrong += [str(finding) for finding in faults(store) if finding.kind is Severity.FAULT]
    wrong += [f"left: {path}" for path in unreferenced(store)]
    left = {(image, BootName.parse(name).version) for image, name in named(store)}
    return wrong if len(left) == 2 else [*wrong, f"left in the menus: {left}"]


if __name__ == "__main__":
    kind, case, action, which, directory, *paths = sys.argv[1:]
    for line in main(kind, case, action, which, Path(directory), [Path(path) for path in paths]):
        sys.stdout.write(f"{line}\n")
