"""python escape.py SECRET: every way out that version 0.1 had, and others; one JSON object of what each of them gave.

Runs as root of a sandbox's tree. SECRET: what stands in a file and in the environment of processes of the host, in
hexadecimal, so that it does not stand in this process's own.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import stat
import sys
import termios
from collections.abc import Callable
from functools import partial

from tests.breakout.kernel import X32, call, name_of

NAMESPACES = {"mnt": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000, "user": 0x10000000}
NAMESPACES |= {"pid": 0x20000000, "net": 0x40000000}
MS_REMOUNT_BIND, MNT_DETACH = 32 | 4096, 2
SECRET = bytes.fromhex(sys.argv[1])


def said(does: Callable[[], object]) -> str:
    """`done`, or the error's name."""
    try:
        result = does()
    except OSError as error:
        return name_of(-(error.errno or 0))
    return name_of(result) if isinstance(result, int) else "done"


def calls() -> dict[str, str]:
    """Calls that no recipe needs, with arguments that would do something where they are let through."""
    tries: dict[str, Callable[[], object]] = {
        "keyctl": lambda: call("keyctl", 0, -3, 0),  # the session's keyring
        "add_key": lambda: call("add_key", b"user", b"name", b"x", 1, -4),
        "request_key": lambda: call("request_key", b"user", b"name", 0, -4),
        "bpf": lambda: call("bpf", 5, b"\0" * 128, 128),
        "perf_event_open": lambda: call("perf_event_open", b"\0" * 128, 0, -1, -1, 0),
        "userfaultfd": lambda: call("userfaultfd", 0),
        "io_uring_setup": lambda: call("io_uring_setup", 1, b"\0" * 120),
        "init_module": lambda: call("init_module", b"x", 1, b""),
        "finit_module": lambda: call("finit_module", 0, b"", 0),
        "delete_module": lambda: call("delete_module", b"nosuchmodule", 0),
        "kexec_load": lambda: call("kexec_load", 0, 0, 0, 0),
        "reboot": lambda: call("reboot", 0xFEE1DEAD, 672274793, 0),  # switches Ctrl-Alt-Del off
        "settimeofday": lambda: call("settimeofday", b"\0" * 16, 0),
        "clock_settime": lambda: call("clock_settime", 0, b"\0" * 16),
        "adjtimex": lambda: call("adjtimex", b"\1" + b"\0" * 207),
        "swapon": lambda: call("swapon", b"/etc/nothing", 0),
        "swapoff": lambda: call("swapoff", b"/etc/nothing"),
        "acct": lambda: call("acct", b"/etc/acct"),
        "syslog": lambda: call("syslog", 3, b"\0" * 64, 64),
        "iopl": lambda: call("iopl", 3),
        "ioperm": lambda: call("ioperm", 0, 1, 1),
        "quotactl": lambda: call("quotactl", 0x80000300, b"/dev/null", 0, 0),
        "vhangup": lambda: call("vhangup"),
        "ptrace": lambda: call("ptrace", 16, 1, 0, 0),
        "process_vm_readv": lambda: call("process_vm_readv", 1, 0, 0, 0, 0, 0),
        "kcmp": lambda: call("kcmp", 1, 1, 0, 0, 0),
        "pivot_root": lambda: call("pivot_root", b"/", b"/tmp"),
        "open_by_handle_at": lambda: call("open_by_handle_at", 3, b"\0" * 136, 0),
        "sethostname": lambda: call("sethostname", b"evil", 4),
        "unshare of a user namespace": lambda: call("unshare", NAMESPACES["user"]),
        "clone3": lambda: call("clone3", b"\0" * 88, 88),
        "the same call of x32": lambda: call("unshare", NAMESPACES["user"], bit=X32),
        "keyctl of x32": lambda: call("keyctl", 0, -3, 0, bit=X32),
        "fsopen": lambda: call("fsopen", b"tmpfs", 0),
        "open_tree": lambda: call("open_tree", -100, b"/", 0),
    }
    return {name: said(does) for name, does in tries.items()}


def devices() -> dict[str, str]:
    """Nodes of the host's devices, made and given."""
    found = {}
    for name, kind, device in (
        ("the first disk", stat.S_IFBLK, os.makedev(254, 0)),
        ("/dev/mem", stat.S_IFCHR, os.makedev(1, 1)),
        ("/dev/kvm", stat.S_IFCHR, os.makedev(10, 232)),
        ("/dev/net/tun", stat.S_IFCHR, os.makedev(10, 200)),
    ):
        found[f"a node of {name}"] = said(partial(os.mknod, "/tmp/node", kind | 0o666, device))
    for path in ("/dev/kvm", "/dev/net/tun", "/dev/mem", "/dev/fuse", "/dev/loop-control", "/dev/tty"):
        found[path] = said(partial(_open, path, os.O_RDWR))
    return found


def mounts() -> dict[str, str]:
    """Mounts changed, taken away, and made of what the host has."""
    return {
        "the root made writable again": said(lambda: call("mount", b"", b"/proc/sys", b"", MS_REMOUNT_BIND, 0)),
        "umount of /proc": said(lambda: call("umount2", b"/proc", MNT_DETACH)),
        "umount of a cover": said(lambda: call("umount2", b"/proc/keys", MNT_DETACH)),
        "umount of /": said(lambda: call("umount2", b"/", MNT_DETACH)),
        "a /proc of its own": said(lambda: call("mount", b"proc", b"/mnt", b"proc", 0, 0)),
        "a /sys of its own": said(lambda: call("mount", b"sysfs", b"/mnt", b"sysfs", 0, 0)),
        "cgroups": said(lambda: call("mount", b"cgroup2", b"/mnt", b"cgroup2", 0, 0)),
        "devtmpfs": said(lambda: call("mount", b"devtmpfs", b"/mnt", b"devtmpfs", 0, 0)),
        "the kernel's debugfs": said(lambda: call("mount", b"debugfs", b"/mnt", b"debugfs", 0, 0)),
    }


def kernel_files() -> dict[str, str]:
    """What root of the host writes to, to change the host."""
    paths = (
        *(
            "/proc/sys/kernel/core_pattern",
            "/proc/sys/kernel/modprobe",
            "/proc/sys/kernel/hostname",
            "/proc/sysrq-trigger",
        ),
        *("/proc/sys/vm/drop_caches", "/proc/1/oom_score_adj", "/proc/kcore", "/proc/kmsg", "/proc/keys"),
        *("/sys/kernel/uevent_helper", "/sys/fs/cgroup/release_agent", "/sys/power/state", "/sys/class/net"),
    )
    found = {}
    for path in paths:
        written = said(partial(_open, path, os.O_WRONLY))
        read = b""
        with contextlib.suppress(OSError), open(path, "rb") as file:
            read = file.read(64) if os.path.isfile(path) else b"".join(map(os.fsencode, os.listdir(path)))
        found[path] = f"{written} {'something' if read.strip() else 'nothing'}"
    return found


def others() -> dict[str, str]:
    """Processes, namespaces and sockets of the host."""
    found = {"signal to all": said(lambda: os.kill(-1, 0))}
    for name, flag in NAMESPACES.items():
        found[f"setns to {name}"] = said(partial(_setns, name, flag))
    families = {"vsock": 40, "packet": 17, "alg": 38, "bluetooth": 31, "tipc": 30, "rds": 21, "can": 29, "xdp": 44}
    for name, family in families.items():
        found[f"a socket of {name}"] = said(partial(_socket, family))
    found["a high bit in a family"] = said(lambda: _socket(40 | 1 << 32))
    found["ids outside"] = said(lambda: os.setresuid(65535, 65535, 65535))
    found["the caller's id"] = said(lambda: os.setresuid(0xFFFFFFF0, 0xFFFFFFF0, 0xFFFFFFF0))
    found["the caller's group"] = said(lambda: os.setgroups([0xFFFFFFF0]))
    found["a file for the caller"] = said(lambda: os.chown("/tmp", 0xFFFFFFF0, 0xFFFFFFF0))
    _, slave = os.openpty()
    found["a key into a terminal"] = said(lambda: fcntl.ioctl(slave, termios.TIOCSTI, b"x"))
    found["a key, with a high bit"] = name_of(_ioctl(slave, termios.TIOCSTI | 1 << 32))
    return found


def _open(path: str, flags: int) -> None:
    os.close(os.open(path, flags))


def _setns(name: str, flag: int) -> int:
    return call("setns", os.open(f"/proc/1/ns/{name}", os.O_RDONLY), flag)


def _socket(family: int) -> int:
    import ctypes

    result = ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(41), ctypes.c_ulong(family), 2, 0)
    return -ctypes.get_errno() if result == -1 else int(result)


def _ioctl(handle: int, request: int) -> int:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(ctypes.c_long(16), ctypes.c_ulong(handle), ctypes.c_ulong(request), b"x")
    return -ctypes.get_errno() if result == -1 else int(result)


def secrets() -> list[str]:
    """Every file that holds SECRET and can be read, from every root there is, also after the old chroot escape."""
    found = []
    places = [
        "/",
        *(f"/proc/{name}/{link}" for name in os.listdir("/proc") if name.isdigit() for link in ("root", "cwd")),
    ]
    os.makedirs("/tmp/jail", exist_ok=True)
    handle = os.open("/", os.O_RDONLY)
    call("chroot", b"/tmp/jail")
    os.fchdir(handle)
    for _ in range(64):
        os.chdir("..")
    call("chroot", b".")
    for place in places:
        found += _holding(place)
    return sorted(found)


def _holding(top: str) -> list[str]:
    found = []
    for directory, names, files in os.walk(top):
        names[:] = [
            name for name in names if name not in ("task", "usr", "host") and not os.path.islink(f"{directory}/{name}")
        ]
        for name in files:
            path = f"{directory}/{name}"
            with contextlib.suppress(OSError):
                if stat.S_ISREG(os.stat(path).st_mode) and name not in ("kcore", "kmsg"):
                    with open(path, "rb") as file:
                        if SECRET in file.read(1 << 20) and "/self/" not in path and "thread-self" not in path:
                            found.append(path)
    return found


def main() -> None:
    report = {
        "calls": calls(),
        "devices": devices(),
        "mounts": mounts(),
        "kernel files": kernel_files(),
        "others": others(),
        "processes": sum(name.isdigit() for name in os.listdir("/proc")),
        "own": os.getpid(),
        "interfaces": [name for _, name in socket.if_nameindex()],
        "secrets": secrets(),
    }
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main()
