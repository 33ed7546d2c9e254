"""Process 1 of a machine: lays out its mounts, then runs one command after the other as they are ordered.

Started as `python -m tests.hosts.init PLAN` inside fresh namespaces. PLAN is the JSON that machine.Machine writes;
orders come as lines of JSON, their exit statuses go back as lines. Commands print to standard error.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

from builder.system.sandbox.init import (
    MNT_DETACH,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_REC,
    SYS_PIVOT_ROOT,
    _check,
    _libc,
    make_dev,
    mount,
    set_read_only,
)

# beside what every sandbox has: QEMU with KVM, taps, file systems of a user and of a file
_DEVICES = ("kvm", "fuse", "net/tun", "vhost-net", "loop-control", "loop[0-9]*")


def make_machine(plan: dict[str, Any]) -> None:
    """Its root with what a kernel and an init system would mount, and the plan's paths from outside."""
    root = plan["root"]
    mount(root, root, flags=MS_BIND)
    mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("/sys", f"{root}/sys", flags=MS_BIND | MS_REC)
    make_dev(f"{root}/dev")
    for device in (found for pattern in _DEVICES for found in Path("/dev").glob(pattern)):
        bind(device, Path(f"{root}{device}"))
    mount("tmpfs", f"{root}/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")
    if plan["tmpfs"]:
        mount("tmpfs", f"{root}/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    for source, path in plan["writable"]:
        bind(Path(source), Path(root + path))
    for path in plan["readable"]:
        bind(Path(path), Path(root + path))
        set_read_only(root + path)
    os.chdir(root)
    _check(_libc.syscall(SYS_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    _check(_libc.umount2(b".", MNT_DETACH), "detach the old root")
    os.chdir("/")


def bind(source: Path, target: Path) -> None:
    """Makes what is at `source` visible at `target`, which is made."""
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    mount(str(source), str(target), flags=MS_BIND)


def run(order: dict[str, Any]) -> int:
    """Runs the words of an order as its user, who has just logged in, and returns the status that a shell would."""
    child = os.fork()
    if child == 0:
        try:
            _become(order)
            os.execve(order["argv"][0], order["argv"], order["environment"])
        except OSError as error:
            os.write(2, f"{order['argv'][0]}: {error}\n".encode())
        os._exit(126)
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _become(order: dict[str, Any]) -> None:
    os.setsid()
    os.umask(order["umask"])
    os.setgroups([])
    os.setgid(order["id"])
    os.setuid(order["id"])
    os.chdir(order["environment"]["HOME"])
    os.dup2(os.open("/dev/null", os.O_RDWR), 0)
    os.dup2(2, 1)


def main() -> None:
    """Makes the machine of the plan and obeys until the orders end."""
    plan = json.loads(sys.argv[1])
    os.umask(0o022)
    socket.sethostname(plan["name"])
    make_machine(plan)
    for line in sys.stdin:
        sys.stdout.write(f"{run(json.loads(line))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
