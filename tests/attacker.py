"""What a server of a lab could do if somebody had taken it over: run in its place, with its identity and its mounts.

    python3 -I -S attacker.py WISHES

WISHES is JSON: `places`, directories and files to write to; `files`, to read; `handles`, [type, hex] of files to open
by handle; `disks`, the numbers of the devices that they are on; `device`, the number of a disk. Prints what was
possible, as JSON. Only the standard library.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import stat
import sys
from collections.abc import Callable
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWUSER, _MS_REMOUNT_BIND = 0x10000000, 32 | 4096
# x86-64
_CALLS: dict[str, tuple[Any, ...]] = {
    "unshare(CLONE_NEWUSER)": (272, _CLONE_NEWUSER),
    "clone(CLONE_NEWUSER)": (56, _CLONE_NEWUSER | 17, None, None, None, None),
    "mount, remounted": (165, None, b"/", None, _MS_REMOUNT_BIND, None),
    "keyctl(KEYCTL_GET_KEYRING_ID, the user's)": (250, 0, -4, 0),
    "add_key": (248, b"user", b"diskless", b"x", 1, -2),
    "ptrace(PTRACE_SEIZE, 1)": (101, 0x4206, 1, 0, 0),
    "bpf": (321, 0, None, 0),
}


def _open(path: str, flags: int) -> int | None:
    try:
        return os.open(path, flags | os.O_CLOEXEC, 0o600)
    except OSError:
        return None


def written(places: list[str]) -> list[str]:
    """Those where a file could be made, or that could be opened for writing; nothing is changed."""
    found = []
    for place in places:
        probe = f"{place}/.diskless-probe" if os.path.isdir(place) else place
        handle = _open(probe, os.O_WRONLY | (os.O_CREAT | os.O_EXCL if probe != place else 0))
        if handle is not None:
            found.append(place)
            os.close(handle)
            if probe != place:
                os.unlink(probe)
    return found


def readable(files: list[str]) -> list[str]:
    """Those that could be opened for reading."""
    return [file for file in files if _open(file, os.O_RDONLY) is not None]


def opened(handles: list[tuple[int, str]], disks: list[int]) -> list[str]:
    """The mounts and descriptors by which a file of a handle could be opened that is on one of the disks.

    The same handle may name a file of each file system.
    """
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        points = sorted({line.split()[4] for line in mounts})
    with os.scandir("/proc/self/fd") as own:
        anchors = {f"descriptor {entry.name}": int(entry.name) for entry in own}
    anchors |= {point: handle for point in points if (handle := _open(point, os.O_RDONLY | os.O_NONBLOCK)) is not None}
    found = []
    for name, anchor in anchors.items():
        for kind, text in handles:
            raw = bytes.fromhex(text)
            buffer = ctypes.create_string_buffer(len(raw).to_bytes(4, "little") + kind.to_bytes(4, "little") + raw)
            file = _libc.open_by_handle_at(anchor, buffer, os.O_RDONLY | os.O_NONBLOCK)
            if file >= 0 and os.fstat(file).st_dev in disks:
                found.append(name)
    return found


def devices(number: int, places: list[str]) -> list[str]:
    """Places where a device node could be made and opened."""
    found = []
    for place in places:
        path = f"{place}/.diskless-device"
        try:
            os.mknod(path, stat.S_IFBLK | 0o600, number)
        except OSError:
            continue
        if _open(path, os.O_RDONLY) is not None:
            found.append(place)
        os.unlink(path)
    return found


def called() -> list[str]:
    """The calls that were not refused."""
    return [name for name, call in _CALLS.items() if _attempt(call)]


def _attempt(call: tuple[Any, ...]) -> bool:
    child = os.fork()
    if child == 0:
        words = [ctypes.c_long(word) if isinstance(word, int) else word for word in call]
        refused = _libc.syscall(*words) < 0 and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS, errno.EACCES)
        os._exit(not refused)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0


def main() -> None:
    wishes = json.loads(sys.argv[1])
    asked: dict[str, Callable[[], list[str]]] = {
        "written": lambda: written(wishes["places"]),
        "readable": lambda: readable(wishes["files"]),
        "opened": lambda: opened(wishes["handles"], wishes["disks"]),
        "devices": lambda: devices(wishes["device"], wishes["places"]),
        "called": called,
    }
    json.dump({name: answer() for name, answer in asked.items()}, sys.stdout)


if __name__ == "__main__":
    main()
