"""Process 1 of a sandbox: lays out the mounts, then runs a command without any right outside, and reaps its orphans.

Started as `python -I -S /dev/fd/N M` inside fresh namespaces by the build's process in its user namespace, so it
imports only the standard library, and all of it before the old root goes away. M is an open file with the JSON that
sandbox.Sandbox writes; neither it nor a path of the host is seen in /proc/1/cmdline. What it runs, and it itself from
then on, is in a further user namespace, which knows the owners of the image and nobody else.

Sources: user_namespaces(7), pivot_root(2), mount_setattr(2), proc(5), netdevice(7).
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import errno
import fcntl
import json
import os
import socket
import struct
import sys
import termios
from typing import Any

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 1, 2, 4
SYS_MOUNT_SETATTR = 442  # the same number on every architecture, since Linux 5.12
SYS_PIVOT_ROOT = {"x86_64": 155, "i686": 217, "aarch64": 41, "riscv64": 41, "armv7l": 218, "ppc64le": 203}
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
FRESH = {"/tmp": "1777", "/run": "0755"}  # what of the host lies there is hidden, as it is below /dev
# of /proc: what it says of the host, and what reaches its kernel; proc(5)
COVERED = (
    *(
        "acpi",
        "asound",
        "bus",
        "device-tree",
        "driver",
        "dynamic_debug",
        "fs",
        "irq",
        "pressure",
        "scsi",
        "sysvipc",
        "tty",
    ),
    *("buddyinfo", "cgroups", "cmdline", "config.gz", "consoles", "crypto", "diskstats", "dma", "execdomains", "fb"),
    *("interrupts", "iomem", "ioports", "kallsyms", "kcore", "key-users", "keys", "kmsg", "kpagecgroup", "kpagecount"),
    *("kpageflags", "latency_stats", "locks", "mdstat", "modules", "mtrr", "pagetypeinfo", "partitions", "sched_debug"),
    *("schedstat", "slabinfo", "softirqs", "swaps", "sysrq-trigger", "timer_list", "vmallocinfo", "zoneinfo"),
)
HOSTS = b"127.0.0.1 localhost\n::1 localhost\n"
SYS_DIRECTORIES = ("block", "bus", "class", "dev", "devices", "firmware", "fs/cgroup", "kernel", "module", "power")
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1  # sockios.h, if.h
_MOST_FILES = 4096
_INSTRUCTION = 8  # bytes of a struct sock_filter
BAD_TREE = "image: "  # before what is wrong with it, when a sandbox FAILED
FAILED = 125  # exit status of a sandbox that could not be made; 127 and 126 are the shell's for a command
_libc = ctypes.CDLL(None, use_errno=True)


class LinkInTreeError(Exception):
    """A directory of an image, where the sandbox mounts something, is a link."""


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
    os.makedirs(path, exist_ok=True)
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
    """A root of the host's programs, read-only, fresh /tmp, /run, /proc, /sys and /dev, and the plan's paths in it."""
    root = plan["root"]
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")
    for name in plan["host"]:
        show_host(name, root)
    for name, mode in FRESH.items():
        os.makedirs(root + name, exist_ok=True)
        mount("tmpfs", root + name, "tmpfs", MS_NOSUID | MS_NODEV, f"mode={mode}")
    make_proc(f"{root}/proc")
    make_sys(f"{root}/sys")
    make_dev(f"{root}/dev")
    for source, path in plan["readable"]:
        show(source, root + path)
    # with all that is mounted below: without it the kernel refuses, lest something that was covered be seen
    for source, path in plan["writable"]:
        os.makedirs(root + path, exist_ok=True)
        mount(source, root + path, flags=MS_BIND | MS_REC)
    for path, target in plan["links"]:
        if not os.path.lexists(root + path):
            os.makedirs(os.path.dirname(root + path), exist_ok=True)
            os.symlink(target, root + path)
    os.symlink("../proc/self/mounts", f"{root}/etc/mtab")  # pacman finds file systems by it
    on_network = plan["network"] == "host"
    _write_new(f"{root}/etc/hosts", _read("/etc/hosts") if on_network else HOSTS)
    if on_network:
        _write_new(f"{root}/etc/resolv.conf", _read("/etc/resolv.conf"))
    mount("", root, flags=MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)


def show_host(path: str, root: str) -> None:
    """What a path of the host is, below `root`: a link, or the file or directory, read-only; nothing if it is none."""
    if not os.path.lexists(path):
        return
    os.makedirs(os.path.dirname(root + path), exist_ok=True)
    if os.path.islink(path):
        os.symlink(os.readlink(path), root + path)
    else:
        show(path, root + path)


def show(source: str, target: str) -> None:
    """Makes a directory with all that is mounted below it visible and read-only at `target`, or copies a file there.

    A file may be readable for whoever runs the build only, as keys often are.
    """
    if not os.path.isdir(source):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(source, "rb") as given, open(target, "wb") as copy:
            while block := given.read(1 << 20):
                copy.write(block)
        return
    os.makedirs(target, exist_ok=True)
    mount(source, target, flags=MS_BIND | MS_REC)
    set_read_only(target)


def _read(path: str) -> bytes:
    """A file of the host, empty where there is none."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.read()
    return b""


def _write_new(path: str, text: bytes) -> None:
    """Over whatever was there, and not through a link."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    with open(path, "wb") as file:
        file.write(text)


def make_proc(path: str) -> None:
    """A /proc of this process namespace, of which what tells of the host or reaches it is covered."""
    os.makedirs(path, exist_ok=True)
    mount("proc", path, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for name in COVERED:
        covered = f"{path}/{name}"
        if os.path.isdir(covered):
            mount("tmpfs", covered, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0555")
        elif os.path.exists(covered):
            mount("/dev/null", covered, flags=MS_BIND)
            set_read_only(covered)
    mount(f"{path}/sys", f"{path}/sys", flags=MS_BIND | MS_REC)
    set_read_only(f"{path}/sys")


def make_sys(path: str) -> None:
    """A /sys of directories that programs look into, with nothing of the host's devices in them."""
    os.makedirs(path, exist_ok=True)
    mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755")
    for name in SYS_DIRECTORIES:
        os.makedirs(f"{path}/{name}")
    set_read_only(path)


def mount_tree(tree: str) -> None:
    """Gives `tree` its own /proc, /sys, /dev, /run and /tmp.

    The tree is bound onto itself: pacman's CheckSpace wants its root to be a mount point.
    """
    for name in ("proc", "sys", "dev", "run", "tmp", "etc"):
        if os.path.islink(f"{tree}/{name}"):  # it would lead these mounts and files out of the tree
            raise LinkInTreeError(f"/{name} of the image is a link")
    mount(tree, tree, flags=MS_BIND)
    for name in ("proc", "sys", "dev", "run", "tmp"):
        os.makedirs(f"{tree}/{name}", exist_ok=True)
    make_proc(f"{tree}/proc")
    make_sys(f"{tree}/sys")
    make_dev(f"{tree}/dev")
    mount("tmpfs", f"{tree}/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")
    mount("tmpfs", f"{tree}/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")


def mount_in_tree(tree: str, inside: list[list[str]], resolver: bytes | None) -> None:
    """Mounts `tree` like that, with further directories read-only in its /run or /tmp.

    With a network it sees `resolver` in place of its own resolv.conf.
    """
    mount_tree(tree)
    for source, path in inside:
        os.makedirs(tree + path, exist_ok=True)
        mount(source, tree + path, flags=MS_BIND | MS_REC)
        set_read_only(tree + path)
    if resolver is not None:
        _give_resolver(tree, resolver)


def _give_resolver(tree: str, text: bytes) -> None:
    """Nothing is written into the tree: a file gets a mount over it, a link into /run leads to a new file there."""
    path = f"{tree}/etc/resolv.conf"
    if os.path.islink(path):
        target = os.path.normpath(os.path.join("/etc", os.readlink(path)))
        if target.startswith("/run/"):
            _write_new(tree + target, text)
    elif os.path.isfile(path):
        given = f"{tree}/run/.resolv.conf"
        _write_new(given, text)
        mount(given, path, flags=MS_BIND)
        set_read_only(path)
        os.unlink(given)


def bring_up_loopback() -> None:
    """Lets `lo` be up: programs of packages look for an interface, and talk to servers of their own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        asked = fcntl.ioctl(handle, SIOCGIFFLAGS, struct.pack("16sH22x", b"lo", 0))
        flags = struct.unpack("16sH22x", asked)[1]
        fcntl.ioctl(handle, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | IFF_UP))


def enter_user_namespace(maps: dict[str, list[list[int]]]) -> None:
    """Gives this process, for good, a user namespace of the given ids, and mounts that it cannot take apart.

    The map is written by another process, which has the right to, and ends with that.
    """
    go, gone = os.pipe()
    writer = os.fork()
    if writer == 0:
        os.close(gone)
        os.read(go, 1)  # until this namespace is there
        for kind, extents in maps.items():
            # no text file: its encoding would be looked for in the root that has gone
            with open(f"/proc/1/{kind}_map", "wb") as file:
                file.write("".join(f"{inside} {outside} {count}\n" for inside, outside, count in extents).encode())
        os._exit(0)
    os.close(go)
    _check(_libc.unshare(CLONE_NEWUSER | CLONE_NEWNS), "unshare(2) of the user namespace")
    os.close(gone)
    _, status = os.waitpid(writer, 0)
    if status != 0:
        raise OSError(errno.EPERM, "the ids of the sandbox are refused")
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    os.setgroups([])


PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2


def install_filter(code: bytes) -> bool:
    """Lets an array of struct sock_filter answer this process's calls from now on, seccomp(2); False where refused."""
    buffer = ctypes.create_string_buffer(code, len(code))
    head = ctypes.create_string_buffer(struct.pack("@HP", len(code) // _INSTRUCTION, ctypes.addressof(buffer)))
    return bool(_libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, head, 0, 0) == 0)


def run_and_reap(argv: list[str], terminal: int | None) -> int:
    """Runs `argv`, reaps every orphan meanwhile, and returns its status as a shell would.

    terminal: the end of a terminal of the sandbox's own that it gets; the other end has been sent away
    """
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            if terminal is not None:
                fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
                for handle in range(3):
                    os.dup2(terminal, handle)
            os.closerange(3, _MOST_FILES)  # the plan, this program, a namespace: nothing of ours goes with it
            os.execvp(argv[0], argv)
        except OSError as error:
            os.write(2, f"{argv[0]}: {error.strerror}\n".encode())
            os._exit(127 if error.errno == errno.ENOENT else 126)
    if terminal is not None:
        os.close(terminal)
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def open_terminal(channel: int) -> int:
    """A new terminal of this sandbox: its own end; the other one is sent through a socket, unix(7)."""
    outer, inner = os.openpty()
    with socket.socket(fileno=channel) as connection:
        connection.sendmsg([b"t"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [outer]))])
    os.close(outer)
    return inner


def prepare(plan: dict[str, Any]) -> int | None:
    """Lays out the sandbox of the plan, and gives up all that is outside of it; the command's own terminal, if any."""
    socket.sethostname("localhost")
    if plan["network"] != "host":
        bring_up_loopback()
    if plan["chroot"] is not None:
        resolver = plan["resolver"].encode() if plan["resolver"] is not None else None
        if plan["network"] == "host":
            resolver = _read("/etc/resolv.conf")
        mount_in_tree(plan["chroot"], plan["inside"], resolver)
        pivot(plan["chroot"])
    else:
        make_root(plan)
        if plan["prepared"] is not None:
            mount_tree(plan["root"] + plan["prepared"])
        pivot(plan["root"])
    terminal = open_terminal(plan["terminal"]) if plan["terminal"] is not None else None
    enter_user_namespace(plan["ids"])
    if not install_filter(bytes.fromhex(plan["filter"])):
        raise OSError(ctypes.get_errno(), "seccomp(2) of a filter: " + os.strerror(ctypes.get_errno()))
    return terminal


def main() -> int:
    """Lays out the sandbox of the plan and runs its command."""
    with open(int(sys.argv[1]), encoding="utf-8") as file:
        plan = json.load(file)
    os.umask(0o022)
    os.setsid()  # no terminal of the caller's is this session's
    try:
        terminal = prepare(plan)
    except LinkInTreeError as error:
        os.write(2, f"{BAD_TREE}{error}\n".encode())
        return FAILED
    except Exception as error:
        os.write(2, f"sandbox: {type(error).__name__}: {error}\n".encode())
        return FAILED
    return run_and_reap(plan["argv"], terminal)


if __name__ == "__main__":
    # everything runs in this process: the namespaces end with it
    os._exit(main())
