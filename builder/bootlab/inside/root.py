"""The root directory of a lab: programs and nothing else of the host, and what the lab's servers need besides.

Process 1 makes it, in mount namespaces of its own. What it is made of:

- the host's programs, by an overlay of one directory each: read-only, and of a file system that has no file handles.
  Of a bind mount a server that may open files by handle, open_by_handle_at(2), as nfs-ganesha must, would reach every
  file of the host's file system that the mount is of. Where there is no overlayfs it is a bind mount all the same.
- an /etc of the lab's own, a few of the host's tables in it; no account but the lab's.
- fresh /proc, /dev, /run, /tmp and /var/lib/nfs. Nothing that can be written to has devices that could be opened.
- the directories that the lab serves.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from pathlib import Path
from typing import Any

from builder.system.files import mounts_below
from builder.system.sandbox.init import (
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RDONLY,
    MS_REC,
    mount,
    pivot,
    set_attributes,
    set_read_only,
)

# where it is put together: a directory of every host, in a mount namespace of our own
_ROOT = "/tmp"
_PROGRAMS = ("bin", "lib", "lib32", "lib64", "libx32", "sbin", "usr")
_TABLES = (
    *("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "mime.types", "netconfig"),
    *("protocols", "rpc", "services"),
)
_WRITABLE = {"/run": "0755", "/tmp": "1777", "/var/tmp": "1777", "/var/lib/nfs": "0755"}
_ROOM = "size=64m"
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_TAP, _KVM = "net/tun", "kvm"
_EMPTY = "/empty"
_MS_REMOUNT = 32


def lay_out_root(plan: dict[str, Any]) -> None:
    """Makes the root directory of `plan`, which view.View wrote, and changes into it; OSError names the step."""
    wanted = (*plan["programs"], *(path for path, _ in plan["served"]), *plan["shared"])
    # what lies below /tmp is about to be hidden; no name of a path means anything to mount(2) this way
    sources = {path: f"/proc/self/fd/{os.open(path, os.O_PATH | os.O_CLOEXEC)}" for path in wanted}
    mount("tmpfs", _ROOT, "tmpfs", MS_NOSUID | MS_NODEV, f"mode=0755,{_ROOM}")
    for path, mode in _WRITABLE.items():
        os.makedirs(_ROOT + path)
        mount("tmpfs", _ROOT + path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, f"mode={mode},{_ROOM}")
    os.symlink("../run", f"{_ROOT}/var/run")
    os.makedirs(f"{_ROOT}/root", 0o700)
    _show_programs(plan["programs"], sources)
    _make_etc()
    _make_proc()
    _make_dev(plan["kvm"])
    for path in plan["shared"]:
        bind(sources[path], path, 0)
    for path, writable in plan["served"]:
        bind(sources[path], path, 0 if writable else MOUNT_ATTR_RDONLY)
    _write(plan["directories"], plan["files"])
    pivot(_ROOT)
    mount("", "/", "", MS_BIND | _MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)


def bind(source: str, path: str, attributes: int) -> None:
    """Shows a directory or file with all that is mounted in it, without devices and setuid programs."""
    if os.path.isdir(source):
        os.makedirs(_ROOT + path, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(_ROOT + path), exist_ok=True)
        os.close(os.open(_ROOT + path, os.O_CREAT | os.O_RDONLY, 0o644))
    mount(source, _ROOT + path, flags=MS_BIND | MS_REC)
    set_attributes(_ROOT + path, attributes | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)


def _show_programs(more: list[str], sources: dict[str, str]) -> None:
    os.mkdir(_ROOT + _EMPTY)
    for path in (f"/{name}" for name in _PROGRAMS):
        if os.path.islink(path):
            os.symlink(os.readlink(path), _ROOT + path)
        elif os.path.isdir(path):
            _overlay(path, path)
            for point in mounts_below(Path(path)):
                if point != path and os.path.isdir(point):
                    _overlay(point, point)
    for path in more:
        _overlay(sources[path], path)


def _overlay(source: str, path: str) -> None:
    os.makedirs(_ROOT + path, exist_ok=True)
    # of two directories at least
    layers = f"lowerdir={source}:{_ROOT}{_EMPTY},nfs_export=off,index=off"
    try:
        mount("overlay", _ROOT + path, "overlay", MS_RDONLY | MS_NOSUID | MS_NODEV, layers)
    except OSError:
        bind(source, path, MOUNT_ATTR_RDONLY)


def _make_etc() -> None:
    os.mkdir(f"{_ROOT}/etc")
    for name in _TABLES:
        source, target = f"/etc/{name}", f"{_ROOT}/etc/{name}"
        if os.path.isdir(source):
            shutil.copytree(source, target, symlinks=True)
        elif os.path.lexists(source):
            shutil.copy(source, target, follow_symlinks=name != "localtime")
    os.symlink("../proc/self/mounts", f"{_ROOT}/etc/mtab")


def _make_proc() -> None:
    """The processes of the lab; what root can change of the host in it is read-only."""
    proc = f"{_ROOT}/proc"
    os.mkdir(proc)
    mount("proc", proc, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for name in os.listdir(proc):
        path = f"{proc}/{name}"
        mode = os.lstat(path).st_mode
        if not name.isdigit() and (stat.S_ISDIR(mode) or (stat.S_ISREG(mode) and mode & 0o222)):
            mount(path, path, flags=MS_BIND)
            set_read_only(path)


def _make_dev(kvm: int) -> None:
    """Nodes of our own, since the host's have handles, by which all of its devices could be opened."""
    dev = f"{_ROOT}/dev"
    os.mkdir(dev)
    mount("tmpfs", dev, "tmpfs", MS_NOSUID | MS_NOEXEC, f"mode=0755,{_ROOM}")
    os.mkdir(f"{dev}/net")
    for name, owner in {**dict.fromkeys((*_DEVICES, _TAP), 0), _KVM: kvm}.items():
        with contextlib.suppress(FileNotFoundError):
            _make_device(f"{dev}/{name}", os.stat(f"/dev/{name}").st_rdev, owner)
    for name, target in {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}.items():
        os.symlink(target, f"{dev}/{name}")
    set_read_only(dev)


def _make_device(path: str, number: int, owner: int) -> None:
    try:
        os.mknod(path, stat.S_IFCHR, number)
    except PermissionError:  # in a user namespace, where a handle opens nothing either: the host's own, as it is
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        mount(path.removeprefix(_ROOT), path, flags=MS_BIND)
    else:
        os.chown(path, owner, owner)
        os.chmod(path, 0o600 if owner else 0o666)


def _write(directories: dict[str, list[int]], files: dict[str, str]) -> None:
    for path, (mode, owner) in directories.items():
        os.makedirs(_ROOT + path, exist_ok=True)
        os.chmod(_ROOT + path, mode)
        os.chown(_ROOT + path, owner, owner)
    for path, text in files.items():
        os.makedirs(os.path.dirname(_ROOT + path), exist_ok=True)
        with open(_ROOT + path, "w", encoding="utf-8") as file:
            file.write(text)
