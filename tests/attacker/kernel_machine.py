"""The kernel's NFS server in a server guest, attacked there: python3 -m tests.attacker.kernel_machine SCENE.

The guest's disks are /dev/vd*, its root forgets what is written to it. Each scene begins with new file systems.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.model.share import ServedStore
from builder.render.server.services import Export, exports
from tests.attacker.attack import Attack
from tests.attacker.dialect import RefusedError, Way
from tests.attacker.exporting import SERVER, exports_of, exposed
from tests.attacker.kernel_handles import FSID_NUMBER, NUMBERED, kernel_handle
from tests.attacker.nfs3 import Nfs3
from tests.attacker.nfs4 import Nfs4
from tests.attacker.places import expected, plant
from tests.attacker.plan import VICTIM, Exposed, Plan

STORE = "/srv/diskless"
_EXPORTS = Path("/etc/exports.d/diskless.exports")
_SUBVOLUME = 0x5000940E  # BTRFS_IOC_SUBVOL_CREATE
_MAKE = {"ext4": ("mkfs.ext4", "-q", "-F")}


@dataclass(frozen=True)
class Scene:
    """What is attacked. layout and filesystem: as for machine.Setup; disks: one for each export.

    subtree: whether the read-only export has subtree_check
    """

    layout: str
    filesystem: str = "ext4"
    disks: tuple[str, ...] = ()
    other: bool = False
    subtree: bool = False
    seconds: float = 0
    seed: int = 1


def run(*command: str | Path, check: bool = True) -> str:
    """What a command printed."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True
    )
    if check and done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}: {done.returncode}\n{done.stdout}")
    return done.stdout


def main() -> None:
    scene = Scene(**json.loads(sys.argv[1]))
    Path(VICTIM).touch()
    exported = exports_of(STORE, None, other=scene.other)
    if scene.layout == "mountpoint":
        said: object = _watch_mounts(scene, exported)
    else:
        with _mounted(scene, [export.directory for export in exported]):
            said = _attacked(scene, exported)
    sys.stdout.write(json.dumps(said) + "\n")


def _attacked(scene: Scene, exported: Sequence[Export]) -> object:
    forbidden = plant(STORE, exposed(exported))
    with _serving(exported, subtree=scene.subtree):
        plan = Plan("kernel", SERVER, exposed(exported), forbidden, (), scene.seconds, scene.seed)
        lists = {version: expected(plan.exports, pseudo=version == "4") for version in ("3", "4")}
        notes = _notes(plan.exports)
        attack = Attack(plan)
        attack.report.notes |= notes
        attack.forge()
        attack.generate()
        report = attack.finish()
    kernel = [line for line in run("dmesg").splitlines() if any(word in line for word in ("Oops", "BUG:", "WARNING:"))]
    report.faults += kernel
    return {"report": dataclasses.asdict(report), "expected": lists}


@contextlib.contextmanager
def _mounted(scene: Scene, directories: Sequence[str]) -> Iterator[None]:
    for directory in directories:
        Path(directory).mkdir(parents=True)
    _mount(scene, directories)
    try:
        yield
    finally:
        for place in (*directories, "/srv/data"):
            run("umount", place, check=False)
        run("rm", "-rf", "--one-file-system", "/srv")


def _mount(scene: Scene, directories: Sequence[str]) -> None:
    names = [Path(directory).name for directory in directories]
    if scene.layout == "own":
        for disk, directory in zip(scene.disks, directories, strict=False):
            if scene.filesystem in _MAKE:
                run(*_MAKE[scene.filesystem], disk)
            run("mount", disk, directory)
    elif scene.layout == "bind":
        for name, directory in zip(names, directories, strict=True):
            Path("/srv/data", name).mkdir(parents=True)
            run("mount", "--bind", f"/srv/data/{name}", directory)
    elif scene.layout == "subvolume":
        Path("/srv/data").mkdir()
        run("mount", scene.disks[0], "/srv/data")
        Path("/srv/data/secret").write_text("forbidden", "ascii")
        for name, directory in zip(names, directories, strict=True):
            _make_subvolume(Path("/srv/data"), name)
            run("mount", "-o", f"subvol={name}", scene.disks[0], directory)


def _make_subvolume(top: Path, name: str) -> None:
    """Without the tools of btrfs."""
    descriptor = os.open(top, os.O_RDONLY)
    fcntl.ioctl(descriptor, _SUBVOLUME, struct.pack("q4088s", 0, name.encode()))
    os.close(descriptor)


@contextlib.contextmanager
def _serving(exported: Sequence[Export], *, subtree: bool = False, mountpoint: bool = False) -> Iterator[None]:
    """The kernel's server with the exports that `server-config` writes."""
    text = exports(exported, ServedStore(STORE, ()))
    if subtree:
        lines = [
            line.replace("no_subtree_check", "subtree_check") if "(ro," in line else line for line in text.splitlines()
        ]
        text = "\n".join(lines) + "\n"
    if mountpoint and ",mountpoint" not in text:
        text = text.replace("no_subtree_check)", "no_subtree_check,mountpoint)")
    _EXPORTS.parent.mkdir(exist_ok=True)
    _EXPORTS.write_text(text, "utf-8")
    mountd = None
    try:
        run("exportfs", "-ra")
        run("rpc.nfsd", "4")
        mountd = subprocess.Popen(["rpc.mountd", "--foreground"], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        while "mountd" not in run("rpcinfo"):
            pass
        Path("/proc/fs/nfsd/v4_end_grace").write_text("Y\n", "ascii")
        yield
    finally:
        run("rpc.nfsd", "0", check=False)
        _EXPORTS.unlink()
        run("exportfs", "-ua", check=False)
        run("exportfs", "-f", check=False)
        if mountd is not None:
            mountd.terminate()  # so that it takes itself out of rpcbind
            mountd.wait()


def _notes(exported: Sequence[Exposed]) -> dict[str, str]:
    """Whether a file can be reached that was deleted in an export while a process of the server has it open."""
    path = Path(exported[0].directory) / "deleted"
    path.write_text("deleted\n", "ascii")
    with path.open("rb"):
        handle = Nfs3(SERVER).handle_of(Way(Nfs3(SERVER).root(exported[0].path), ("deleted",)))
        path.unlink()
        return {"deleted and open": _try(Nfs3(SERVER), handle)}


def _try(dialect: Nfs3 | Nfs4, handle: bytes) -> str:
    try:
        return f"inode {dialect.look(Way(handle)).fileid}"
    except RefusedError as error:
        return error.status


def _watch_mounts(scene: Scene, exported: Sequence[Export]) -> dict[str, dict[str, str]]:
    """What clients get of an export with `mountpoint` before a mount, with it, and after umount under the server."""
    export = exported[0]
    Path(export.directory).mkdir(parents=True)
    Path(export.directory, "below").write_text("of the disk below", "ascii")
    Path(exported[1].directory).mkdir(parents=True)
    seen: dict[str, dict[str, str]] = {}
    with _serving(exported, mountpoint=True):
        seen["before"] = _asked(export)
        run("mkfs.ext4", "-q", "-F", scene.disks[0])
        run("mount", scene.disks[0], export.directory)
        Path(export.directory, "mounted").write_text("of the share", "ascii")
        run("exportfs", "-f")
        seen["mounted"] = _asked(export)
        seen["umount"] = {"said": run("umount", export.directory, check=False).strip()}
        run("umount", "--lazy", export.directory)
        seen["umounted lazily"] = _asked(export)
        run("exportfs", "-f")
        seen["umounted"] = _asked(export)
        run("mount", scene.disks[0], export.directory)
        run("exportfs", "-f")
        seen["mounted again"] = _asked(export)
        run("exportfs", "-f")
        seen["umount after exportfs -f"] = {"said": run("umount", export.directory, check=False).strip()}
    run("umount", export.directory, check=False)
    run("rm", "-rf", "--one-file-system", "/srv")
    return seen


def _asked(export: Export) -> dict[str, str]:
    """An honest mount in v3 and v4, and the handle of the top, forged."""
    forged = kernel_handle((FSID_NUMBER, struct.pack("=I", export.fsid)), (NUMBERED, struct.pack("=II", 2, 0)))
    said = {}
    for dialect in (Nfs3(SERVER), Nfs4(SERVER, 2)):
        try:
            said[f"mount {dialect.name}"] = " ".join(sorted(dialect.names(Way(dialect.root(export.path)))))
        except Exception as error:
            said[f"mount {dialect.name}"] = f"{type(error).__name__}: {error}"
        said[f"forged {dialect.name}"] = _try(dialect, forged)
    return said


if __name__ == "__main__":
    main()
