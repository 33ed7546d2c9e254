"""Stores for the tests: deploying small versions, and looking at what is there without asking the store."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import re
import stat
from pathlib import Path

from builder.deploy import Deployed, DeployOptions, deploy
from builder.model.generation import BootName
from builder.output.offer import offer_directory
from builder.progress.progress import Progress
from builder.store.inspection.verification import Discrepancy, Severity, verify
from builder.store.layout import find_store
from tests.scratch import scratch
from tests.versions import Changes, make_version

SERVER = "192.168.1.1"


def quiet() -> Progress:
    """No output at all."""
    return Progress(io.StringIO(), quiet=True)


@functools.cache
def version(name: str = "1", image: str = "lab", mode: str = "overlay", files: int = 50) -> Path:
    """One of several versions of an image that differ in some files; made once a test run."""
    changes: Changes = {
        "etc/name": f"version {name}\n".encode(),
        "etc/hostname": None if name == "3" else f"lab{name}\n".encode(),
        f"usr/only-in-{name}/file": b"x" * 5000,
    }
    return make_version(
        scratch() / f"versions-{files}", changes, image=image, mode=mode, files=files, kernel=name.encode()
    )


def deployed(place: Path, *versions: Path, **options: object) -> list[Deployed]:
    """Deploys one version after the other to `place`."""
    chosen = DeployOptions(**{"server": SERVER, **options})  # type: ignore[arg-type]
    return [deploy(offer_directory(path), place, chosen, quiet()) for path in versions]


def faults(place: Path, *, deep: bool = True) -> list[Discrepancy]:
    """What `verify` finds wrong."""
    return [finding for finding in verify(find_store(place), deep=deep) if finding.kind is Severity.FAULT]


def menu(place: Path, name: str = "default") -> str:
    """A menu as TFTP serves it."""
    return (place / "boot/pxelinux.cfg" / name).read_text("utf-8")


def active(place: Path, image: str = "lab") -> str:
    """What a client that asks for an image boots: the version and refreshed kernel in its menu's path."""
    found = re.search(rf"^LABEL {re.escape(image)}\n.*\n  KERNEL {re.escape(image)}/(.*)/vmlinuz$", menu(place), re.M)
    assert found is not None
    return found[1]


def named(place: Path) -> set[tuple[str, str]]:
    """Image and boot name of everything that the active menus name."""
    found = set()
    for path in (place / "boot/pxelinux.cfg").iterdir():
        found |= set(re.findall(r"^  KERNEL ([^/]+)/([^/]+)/vmlinuz$", path.read_text("utf-8"), re.M))
    return found


def unreferenced(place: Path) -> list[str]:
    """What lies about in a store and is named by no menu."""
    left = [str(path.relative_to(place)) for path in place.rglob(".tmp-*")]
    names = named(place)
    versions = {(image, BootName.parse(name).version) for image, name in names}
    for top in ("versions", "writable", "ro", "rw", "boot"):
        known = names if top == "boot" else versions
        for path in (place / top).glob("*/*"):
            if path.parent.name not in ("generations", "current", "pxelinux.cfg") and path.is_dir():
                left += [] if (path.parent.name, path.name) in known else [str(path.relative_to(place))]
    current = (place / "boot/current").readlink().name
    left += [path.name for path in (place / "boot/generations").iterdir() if path.name > current]
    return left


def snapshot(top: Path, *, skip: tuple[str, ...] = (".lock",)) -> dict[str, tuple[object, ...]]:
    """Everything below a directory that a program could tell apart, but the times of directories."""
    found: dict[str, tuple[object, ...]] = {}
    for base, directories, files in os.walk(top):
        for name in (*directories, *files):
            path = Path(base, name)
            if name not in skip:
                found[str(path.relative_to(top))] = _entry(path)
    return found


def _entry(path: Path) -> tuple[object, ...]:
    info = path.lstat()
    names = os.listxattr(path, follow_symlinks=False)
    xattrs = {name: os.getxattr(path, name, follow_symlinks=False) for name in names}
    head = (stat.filemode(info.st_mode), info.st_uid, info.st_gid, xattrs)
    if stat.S_ISDIR(info.st_mode):
        return head
    content = str(path.readlink()) if stat.S_ISLNK(info.st_mode) else ""
    if stat.S_ISREG(info.st_mode):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    return (*head, info.st_mtime_ns, info.st_ino, info.st_nlink, content)
