"""nfs-ganesha on a machine of its own, attacked: python -m tests.attacker.ganesha_machine SETUP, see machine.py."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from builder.bootlab.nfs import ganesha_export_faults
from builder.bootlab.settings import GANESHA_CORE, GANESHA_OPTIONS
from builder.model.share import ServedStore
from builder.render.server.services import GANESHA_FILE, Export, ganesha_config
from tests.attacker.attack import Attack
from tests.attacker.exporting import SERVER, exports_of, exposed
from tests.attacker.machine import Setup, enter_machine, lend_programs, run
from tests.attacker.places import expected, plant
from tests.attacker.plan import Plan

STORE, SHOWN = "/srv/diskless", "/disklessroot"
_JAIL = Path("/jail")
_LOG = Path("/run/ganesha.log")


def main() -> None:
    setup = Setup(**json.loads(sys.argv[1]))
    exports = exports_of(STORE, SHOWN, other=setup.other)
    enter_machine(setup, STORE, [export.directory for export in exports])
    forbidden = plant(STORE, exposed(exports))
    bare = _make_jail(exports) if setup.confined == "root" else ()
    served = _around(exports) if setup.confined == "parent" else exports
    server = _start(served, ["chroot", str(_JAIL)] if bare else [])
    plan = Plan("ganesha", SERVER, exposed(exports), forbidden, bare, setup.seconds, setup.seed)
    lists = {version: expected(plan.exports, pseudo=version == "4") for version in ("3", "4")}
    attack = Attack(plan)
    attack.forge()
    attack.generate()
    report = attack.finish()
    if server.poll() is not None:
        report.faults.append(f"nfs-ganesha ended: {server.returncode}: {_LOG.read_text(errors='replace')[-500:]}")
    server.kill()
    server.wait()
    sys.stdout.write(json.dumps({"report": dataclasses.asdict(report), "expected": lists}) + "\n")


def _start(exports: Sequence[Export], prefix: Sequence[str]) -> subprocess.Popen[bytes]:
    for command in (
        "ip link set lo up",
        f"ip address add {SERVER}/24 dev lo",
        "mkdir -p /run/ganesha /var/lib/nfs/ganesha",
    ):
        run(*command.split())
    Path(GANESHA_FILE).write_text(ganesha_config(exports, ServedStore(STORE, ()), GANESHA_CORE), "utf-8")
    subprocess.Popen(["rpcbind", "-f"])
    while not Path("/run/rpcbind.sock").exists():
        time.sleep(0.05)
    argv = [*prefix, "ganesha.nfsd", "-f", GANESHA_FILE, *GANESHA_OPTIONS]
    with _LOG.open("wb") as log:
        server = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    for _ in range(600):
        if b"NFS SERVER INITIALIZED" in _LOG.read_bytes():
            faults = ganesha_export_faults(_LOG.read_text("utf-8", "replace"), exports)
            if not faults:
                return server
            break
        if server.poll() is not None:
            break
        time.sleep(0.05)
    raise SystemExit(f"nfs-ganesha does not start: {_LOG.read_text(errors='replace')[-3000:]}")


def _make_jail(exports: Sequence[Export]) -> tuple[str, ...]:
    """A root directory with the exported file systems and without the machine's; its own directories hold nothing.

    What a unit of systemd has as TemporaryFileSystem=/:ro, BindReadOnlyPaths= and BindPaths=.
    """
    _JAIL.mkdir()
    run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", _JAIL)
    lend_programs(_JAIL)
    for name in ("/etc", "/dev", "/proc", "/run", "/tmp", "/var/lib/nfs"):
        _bind(name)
    for export in exports:
        _bind(export.directory)
        if not export.writable:
            run("mount", "-o", "remount,bind,ro", f"{_JAIL}{export.directory}")
    run("mount", "-o", "remount,ro", _JAIL)
    device = _JAIL.lstat().st_dev
    own = []
    for base, names, _ in os.walk(_JAIL):
        own.append(base)
        names[:] = [name for name in names if os.lstat(f"{base}/{name}").st_dev == device]
    return tuple(own)


def _around(exports: Sequence[Export]) -> list[Export]:
    """The exported file systems once more, inside of a hugetlbfs: of that kind no release of nfs-ganesha takes notice.

    populate_posix_file_systems() in src/FSAL/localfs.c passes over it, so that `..` of an export's top leads nowhere.
    """
    around = f"{STORE}/exports"
    Path(around).mkdir()
    run("mount", "-t", "hugetlbfs", "-o", "mode=0755", "none", around)
    found = []
    for export in exports:
        place = f"{around}/{Path(export.directory).name}"
        Path(place).mkdir()
        run("mount", "--bind", export.directory, place)
        if not export.writable:
            run("mount", "-o", "remount,bind,ro", place)
        found.append(dataclasses.replace(export, directory=place))
    return found


def _bind(directory: str) -> None:
    place = Path(f"{_JAIL}{directory}")
    place.mkdir(parents=True, exist_ok=True)
    run("mount", "--bind", directory, place)


if __name__ == "__main__":
    main()
