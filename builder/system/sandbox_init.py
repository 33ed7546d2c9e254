"""Process 1 of a sandbox: lays out the mounts, then runs one command and reaps whatever it leaves.

Started by path (`python -I -S sandbox_init.py PLAN`) inside fresh namespaces, so it imports only the standard
library, and all of it before the old root goes away. PLAN is the JSON that sandbox.Sandbox writes.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import socket
import struct
import sys
import traceback
from typing import Any

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 1, 2, 4
SYS_MOUNT_SETATTR = 442  # the same number on every architecture, since Linux 5.12
SYS_PIVOT_ROOT = {"x86_64": 155, "i686": 217, "aarch64": 41, "riscv64": 41, "armv7l": 218, "ppc64le": 203}
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
FRESH = {"/tmp": "1777", "/run": "0755"}  # what of the host lies there is hidden, as it is below /dev
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
    """Makes the mount at `path` and all mounts below it read-only."""
    set_attributes(path, MOUNT_ATTR_RDONLY)


def set_attributes(path: str, attributes: int) -> None:
    """Adds attributes to the mount at `path` and to all mounts below it (mount_setattr(2), Linux >= 5.12)."""
    change = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
    result = _libc.syscall(
        SYS_MOUNT_SETATTR, AT_FDCWD, path.encode(), AT_RECURSIVE, ctypes.byref(change), ctypes.sizeof(change)
    )
    _check(result, f"mount_setattr {path}")


def pivot(root: str) -> None:
    """Makes the mount at `root` the root directory of this mount namespace; the old one is gone."""
    os.chdir(root)
    # pivot_root(".", "."): the old root is stacked on the new one and then detached, pivot_root(2)
    _check(_libc.syscall(SYS_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    _check(_libc.umount2(b".", MNT_DETACH), "detach the old root")
    os.chdir("/")


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
    for name, mode in FRESH.items():
        mount("tmpfs", root + os.path.realpath(name), "tmpfs", MS_NOSUID | MS_NODEV, f"mode={mode}")
    mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    make_dev(f"{root}/dev")
    for source, path in plan["readable"]:
        show(source, root + path)
    for source, path in plan["writable"]:
        os.makedirs(root + path, exist_ok=True)
        mount(source, root + path, flags=MS_BIND)
    for path, target in plan["links"]:
        if not os.path.lexists(root + path):
            os.makedirs(os.path.dirname(root + path), exist_ok=True)
            os.symlink(target, root + path)
    if resolver is not None:
        path, text = resolver
        os.makedirs(os.path.dirname(root + path), exist_ok=True)
        with open(root + path, "wb") as file:
            file.write(text)
    pivot(root)


def show(source: str, target: str) -> None:
    """Makes a file, or a directory with all that is mounted below it, visible and read-only at `target`."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_RDONLY, 0o644))
    mount(source, target, flags=MS_BIND | MS_REC)
    set_read_only(target)


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


def enter_tree(tree: str, inside: list[list[str]], network: bool) -> None:
    """Changes root into `tree`, mounted like that, with further directories read-only in its /run or /tmp.

    With a network it sees the host's resolv.conf in place of its own.
    """
    mount_tree(tree)
    for source, path in inside:
        os.makedirs(tree + path, exist_ok=True)
        mount(source, tree + path, flags=MS_BIND)
        set_read_only(tree + path)
    if network:
        _give_resolver(tree)
    os.chroot(tree)
    os.chdir("/")


def _give_resolver(tree: str) -> None:
    """Nothing is written into the tree: a file gets a mount over it, a link into /run leads to a new file there."""
    path = f"{tree}/etc/resolv.conf"
    if os.path.islink(path):
        target = os.path.normpath(os.path.join("/etc", os.readlink(path)))
        if target.startswith("/run/"):
            os.makedirs(os.path.dirname(tree + target), exist_ok=True)
            with open("/etc/resolv.conf", "rb") as source, open(tree + target, "wb") as file:
                file.write(source.read())
    elif os.path.isfile(path):
        mount("/etc/resolv.conf", path, flags=MS_BIND)
        set_read_only(path)


def _take_terminal() -> None:
    """A process group of its own in the terminal's foreground: shells cannot give it back to one they do not see."""
    os.setpgid(0, 0)
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.tcsetpgrp(0, os.getpgrp())
    signal.signal(signal.SIGTTOU, before)


PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF_LD+W+ABS, BPF_JMP+JEQ+K, BPF_RET+K, bpf_common.h
ALLOW, ERRNO = 0x7FFF0000, 0x00050000  # SECCOMP_RET_ALLOW; SECCOMP_RET_ERRNO with 0: done, without doing it
AUDIT_ARCH_X86_64 = 0xC000003E
# a throw-away tree is never worth waiting for a disk: what is published is synced by the build itself
_SYNC_CALLS = {
    AUDIT_ARCH_X86_64: (74, 75, 162, 277, 306),
    0x40000003: (118, 148, 36, 314, 344),
}  # x86_64, i386; audit.h


def ignore_sync() -> None:
    """fsync(2), fdatasync(2), sync(2), sync_file_range(2) and syncfs(2) return at once from now on, seccomp(2).

    dpkg waits for the disk several times a package, whatever its options say.
    """
    program = []
    for machine, numbers in _SYNC_CALLS.items():
        program.append((LOAD, 0, 0, 4))  # seccomp_data.arch
        program.append((EQUAL, 0, len(numbers) + 3, machine))
        program.append((LOAD, 0, 0, 0))  # seccomp_data.nr
        program += [(EQUAL, len(numbers) - position, 0, number) for position, number in enumerate(numbers)]
        program += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, ERRNO)]
    program.append((RETURN, 0, 0, ALLOW))
    filter_calls(program)  # refused on a kernel without it: then the build is only slower


def filter_calls(program: list[tuple[int, int, int, int]]) -> bool:
    """Lets a program of BPF answer this process's system calls from now on, seccomp(2); False where that is refused."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    head = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code)))
    return bool(_libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, head, 0, 0) == 0)


def run_and_reap(argv: list[str]) -> int:
    """Runs `argv`, reaps every orphan meanwhile, and returns its status as a shell would."""
    child = os.fork()
    if child == 0:
        try:
            if os.isatty(0):
                _take_terminal()
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
            enter_tree(plan["chroot"], plan["inside"], plan["network"])
        elif plan["prepared"] is not None:
            mount_tree(plan["prepared"])
    except Exception:
        os.write(2, f"sandbox: {traceback.format_exc(limit=1)}".encode())
        return FAILED
    if not plan["network"]:  # with one, what is fetched goes into a cache that stays
        ignore_sync()
    return run_and_reap(plan["argv"])


if __name__ == "__main__":
    # everything runs in this process: the namespaces end with it
    os._exit(main())
