"""A server's machine: a disk image as its root, the host's programs read-only, nothing else of the host.

A forged handle may lead anywhere that the attacked server can reach, and the attacker writes there. So the host's root
is gone before anything starts: this process and its children have the image as their root directory. Run as process 1
of fresh namespaces:

    unshare --mount --net --pid --fork --kill-child --propagation private python -m tests.attacker.machine SETUP
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.system.sandbox.init import set_read_only
from tests.attacker.plan import VICTIM
from tests.images import ROOT

_ETC = ("passwd", "group", "nsswitch.conf", "netconfig", "services", "protocols", "rpc", "ld.so.cache", "localtime")
_NODES = ("null", "zero", "full", "random", "urandom")
_EMPTY = ("dev", "etc/ganesha", "proc", "run", "srv", "sys", "tmp", "var/lib/nfs", "var/log", "old", "home", "root")
_FRESH = (("proc", "/proc"), ("sysfs", "/sys"), *(("tmpfs", place) for place in ("/run", "/tmp", "/var/lib/nfs")))
_MAKE = {
    "ext4": ("mkfs.ext4", "-q", "-F"),
    "xfs": ("mkfs.xfs", "-q", "-f"),
    "btrfs": ("mkfs.btrfs", "-q", "-f"),
}
_SIZE = {"ext4": 64, "xfs": 320, "btrfs": 128}  # MiB; what each needs at least


@dataclass(frozen=True)
class Setup:
    """A machine and what is done with it.

    work: an empty directory of the host, for the image
    layout: plain, where the exported directories lie on the machine's disk; own, where each is a file system of its
        own; bind or subvolume, where each only looks like one
    filesystem: ext4, xfs, btrfs
    confined: what keeps nfs-ganesha from what lies above an export: nothing; `root`, a root directory of its own with
        nothing but the exported file systems; `parent`, a file system around these that it does not enter
    other: whether there is one more that another client alone may mount
    """

    work: str
    layout: str = "own"
    filesystem: str = "ext4"
    confined: str = ""
    other: bool = False
    seconds: float = 0
    seed: int = 1

    def to_json(self) -> str:
        """For the command line."""
        return json.dumps(dataclasses.asdict(self))


def run(*command: str | Path) -> str:
    """What a command printed; it must end well."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}: {done.returncode}\n{done.stdout}")
    return done.stdout


def enter_machine(setup: Setup, store: str, directories: Sequence[str]) -> None:
    """Makes the machine with its exported directories and goes into it; SystemExit where the host would be in reach."""
    if os.getpid() != 1:
        raise SystemExit("not process 1 of a namespace")
    work, host = Path(setup.work), Path("/").stat().st_dev
    run("mount", "--bind", work, work)
    set_read_only("/")
    run("mount", "-o", "remount,bind,rw", work)
    root = _make_disk(work)
    for directory in directories:
        (root / directory.lstrip("/")).mkdir(parents=True)
    _mount_exports(setup, root, store, directories)
    lend_programs(root)
    _make_dev(root)
    os.chdir(root)
    run("pivot_root", ".", "old")
    os.chdir("/")
    for kind, place in _FRESH:
        run("mount", "-t", kind, kind, place)
    run("umount", "--lazy", "/old")
    Path(VICTIM).touch()
    _check_host_is_gone(host)


def _make_disk(work: Path) -> Path:
    image, root = work / "disk.img", work / "root"
    root.mkdir()
    _make_filesystem(image, "ext4", 900)
    run("mount", "-o", "loop", image, root)
    for name in _EMPTY:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in _ETC:
        if Path("/etc", name).exists():
            shutil.copyfile(f"/etc/{name}", root / "etc" / name)
    (root / "etc/mtab").symlink_to("../proc/self/mounts")  # where nfs-ganesha looks for file systems
    return root


def _make_filesystem(image: Path, kind: str, size: int) -> None:
    with image.open("xb") as file:
        file.truncate(size << 20)
    run(*_MAKE[kind], image)


def _mount_exports(setup: Setup, root: Path, store: str, directories: Sequence[str]) -> None:
    """Below `store`/filesystems lie the image files, as where there is no volume manager."""
    images = root / store.lstrip("/") / "filesystems"
    images.mkdir()
    places = [root / directory.lstrip("/") for directory in directories]
    if setup.layout == "own":
        for place in places:
            _make_filesystem(images / place.name, setup.filesystem, _SIZE[setup.filesystem])
            run("mount", "-o", "loop", images / place.name, place)
    elif setup.layout == "bind":
        for place in places:
            other = root / "srv/data" / place.name
            other.mkdir(parents=True)
            run("mount", "--bind", other, place)
    elif setup.layout == "subvolume":
        data = root / "srv/data"
        data.mkdir()
        _make_filesystem(images / "data", "btrfs", _SIZE["btrfs"])
        run("mount", "-o", "loop", images / "data", data)
        (data / "secret").write_text("forbidden", "ascii")
        for place in places:
            run("btrfs", "-q", "subvolume", "create", data / place.name)
            device = run("findmnt", "-nro", "SOURCE", data).strip().partition("[")[0]
            run("mount", "-o", f"subvol={place.name}", device, place)


def lend_programs(root: Path) -> None:
    """The host's programs and this checkout, read-only."""
    for path in (Path(name) for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")):
        if path.is_symlink():
            (root / path.name).symlink_to(path.readlink())
        elif path.is_dir():
            _lend(root, path)
    _lend(root, Path("/usr"))
    for path in (Path(sys.base_prefix), ROOT):
        if not path.is_relative_to("/usr"):
            _lend(root, path)


def _lend(root: Path, path: Path) -> None:
    place = root / str(path).lstrip("/")
    place.mkdir(parents=True, exist_ok=True)
    run("mount", "--bind", path, place)
    run("mount", "-o", "remount,bind,ro", place)


def _make_dev(root: Path) -> None:
    """Harmless nodes, and those of the loop devices of this machine, from which servers read UUIDs."""
    run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", root / "dev")
    devices = [Path("/dev", name) for name in _NODES]
    devices += [
        Path(name) for name in run("findmnt", "-nro", "SOURCE", "-t", ",".join(_MAKE)).split() if "/loop" in name
    ]
    for device in {Path(str(device).partition("[")[0]) for device in devices}:
        info = device.stat()
        os.mknod(root / "dev" / device.name, info.st_mode, info.st_rdev)


def _check_host_is_gone(host: int) -> None:
    """Of the host's disk there may be programs, read-only."""
    device = f"{os.major(host)}:{os.minor(host)}"
    for line in Path("/proc/self/mountinfo").read_text("utf-8").splitlines():
        fields = line.split()
        if fields[2] == device and (fields[4] == "/" or "ro" not in fields[5].split(",")):
            raise SystemExit(f"the host is still here: {line}")
