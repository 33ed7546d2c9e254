"""Process 1 of a sandbox: lays out the mounts, then runs one command and reaps whatever it leaves.

Started by path (`python -I -S sandbox_init.py PLAN`) inside fresh namespaces, so it imports only the standard
library, and all of it before the old root goes away. PLAN is the JSON that sandbox.Sandbox writes.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import socket
import sys
import traceback
from typing import Any

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
MOUNT_ATTR_RDONLY = 1
SYS_MOUNT_SETATTR = 442  # the same number on every architecture, since Linux 5.12
SYS_PIVOT_ROOT = {"x86_64": 155, "i686": 217, "aarch64": 41, "riscv64": 41, "armv7l": 218, "ppc64le": 203}
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
FAILED = 125  # exit status of a sandbox that could not be made; 127 and 126 are the shell's for a command
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Mounts; OSError names both ends."""
    result = _libc.mount(
        source.encode(), target.encode(), kind.encode() or None, ctypes.c_ulong(flags), data.encode() or None
    )
    _check(result, f"mount {source} on {target}")


def set_read_only(path: str) -> None:
    """Makes the mount at `path` and all mounts below it read-only (mount_setattr(2), Linux >= 5.12)."""
    attributes = (ctypes.c_uint64 * 4)(MOUNT_ATTR_RDONLY, 0, 0, 0)
    result = _libc.syscall(
        SYS_MOUNT_SETATTR, AT_FDCWD, path.encode(), AT_RECURSIVE, ctypes.byref(attributes), ctypes.sizeof(attributes)
    )
    _check(result, f"mount_setattr {path}")


def make_dev(path: str) -> None:
    """A /dev of nothing but the harmless nodes, pseudo-terminals and shared memory."""
    mount("tmpfs", path, "tmpfs", MS_NOSUID, "mode=0755")
    for name in DEVICES:
        os.close(os.open(f"{path}/{name}", os.O_CREAT | os.O_WRONLY, 0o666))
        mount(f"/dev/{name}", f"{path}/{name}", flags=MS_BIND)
    for name in ("pts", "shm"):
        os.mkdir(f"{path}/{name}")
    mount("devpts", f"{path}/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5")
    mount("tmpfs", f"{path}/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    for name, target in (
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "fd/0"),
        ("stdout", "fd/1"),
        ("stderr", "fd/2"),
    ):
        os.symlink(target, f"{path}/{name}")


def make_root(plan: dict[str, Any]) -> None:
    """The host's file system read-only, fresh /tmp, /run, /proc and /dev, and the plan's paths opened in it."""
    root = plan["root"]
    resolver = _resolver()
    mount("/", root, flags=MS_BIND | MS_REC)
    set_read_only(root)
    mount("tmpfs", f"{root}/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    mount("tmpfs", f"{root}/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")
    mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    make_dev(f"{root}/dev")
    for source, path in plan["readable"]:
        os.makedirs(root + path, exist_ok=True)
        mount(source, root + path, flags=MS_BIND)
        set_read_only(root + path)
    for path in plan["writable"]:
        os.makedirs(root + path, exist_ok=True)
        mount(path, root + path, flags=MS_BIND)
    if resolver is not None:
        path, text = resolver
        os.makedirs(os.path.dirname(root + path), exist_ok=True)
        with open(root + path, "wb") as file:
            file.write(text)
    os.chdir(root)
    # pivot_root(".", "."): the old root is stacked on the new one and then detached, pivot_root(2)
    _check(_libc.syscall(SYS_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    _check(_libc.umount2(b".", MNT_DETACH), "detach the old root")
    os.chdir("/")


def _resolver() -> tuple[str, bytes] | None:
    """The host's resolv.conf where it lives in /run, which is about to become empty."""
    path = os.path.realpath("/etc/resolv.conf")
    if not path.startswith("/run/"):
        return None
    try:
        with open(path, "rb") as file:
            return path, file.read()
    except OSError:
        return None


def mount_tree(tree: str) -> None:
    """Gives `tree` its own /proc, /dev, /run, /tmp and a read-only /sys.

    The tree is bound onto itself: pacman's CheckSpace wants its root to be a mount point.
    """
    mount(tree, tree, flags=MS_BIND)
    for name in ("proc", "sys", "dev", "run", "tmp"):
        os.makedirs(f"{tree}/{name}", exist_ok=True)
    mount("proc", f"{tree}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("/sys", f"{tree}/sys", flags=MS_BIND | MS_REC)
    set_read_only(f"{tree}/sys")
    make_dev(f"{tree}/dev")
    mount("tmpfs", f"{tree}/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")
    mount("tmpfs", f"{tree}/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")


def enter_tree(tree: str) -> None:
    """Changes root into `tree`, mounted like that."""
    mount_tree(tree)
    os.chroot(tree)
    os.chdir("/")


def run_and_reap(argv: list[str]) -> int:
    """Runs `argv`, reaps every orphan meanwhile, and returns its status as a shell would."""
    child = os.fork()
    if child == 0:
        try:
            os.execvp(argv[0], argv)
        except OSError as error:
            os.write(2, f"{argv[0]}: {error.strerror}\n".encode())
            os._exit(127 if error.errno == errno.ENOENT else 126)
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def main() -> int:
    """Lays out the sandbox of the plan and runs its command."""
    plan = json.loads(sys.argv[1])
    os.umask(0o022)
    try:
        socket.sethostname("localhost")
        make_root(plan)
        if plan["chroot"] is not None:
            enter_tree(plan["chroot"])
        elif plan["prepared"] is not None:
            mount_tree(plan["prepared"])
    except Exception:
        os.write(2, f"sandbox: {traceback.format_exc(limit=1)}".encode())
        return FAILED
    return run_and_reap(plan["argv"])


if __name__ == "__main__":
    # everything runs in this process: the namespaces end with it
    os._exit(main())
