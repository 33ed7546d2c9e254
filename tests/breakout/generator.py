"""python generator.py SEED SECONDS SECRET: random hostile steps as root of a sandbox's tree, and what they gave.

Some steps each run in a process of their own, so that one which locks itself out does not end the rest. Prints one JSON
object: how many steps, how often each kind succeeded, and every place where SECRET, in hexadecimal here, was seen.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import random
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable

from tests.breakout.kernel import CALLS, call

PATHS = (
    *("/", "/proc", "/proc/1", "/proc/self", "/proc/sys", "/proc/sys/kernel", "/sys", "/sys/fs/cgroup", "/dev", "/run"),
    *("/tmp", "/etc", "/bin", "/mnt", "/dev/pts", "/dev/shm", "/proc/1/ns", "/proc/1/fd", "/proc/self/ns", "/proc/bus"),
)
KINDS = (
    "proc",
    "sysfs",
    "tmpfs",
    "devpts",
    "cgroup",
    "cgroup2",
    "overlay",
    "mqueue",
    "bpf",
    "debugfs",
    "ext4",
    "nfs",
    "fuse",
)
FLAGS = (0, 1, 2, 4, 8, 32, 64, 4096, 8192, 16384, 1 << 17, 1 << 18, 1 << 19, 1 << 20)
WORDS = (b"0", b"1", b"|/bin/sh -c id", b"evil", b"c", b"b", b"/tmp/x")


class Generator:
    """Steps of one seed."""

    def __init__(self, seed: str, secret: bytes) -> None:
        self._random = random.Random(seed)
        self._secret = secret
        self.kinds: dict[str, Callable[[], object]] = {
            "mount": self._mount,
            "umount": lambda: call("umount2", self._path(), self._random.choice((0, 1, 2, 4, 8))),
            "unshare": lambda: call(
                "unshare", self._bits((0x20000, 0x2000000, 0x4000000, 0x8000000, 0x20000000, 0x40000000))
            ),
            "user namespace": lambda: call("unshare", 0x10000000 | self._bits((0x20000, 0x40000000))),
            "setns": lambda: call("setns", self._opened(), self._random.choice((0, 0x20000, 0x40000000, 0x10000000))),
            "chroot": lambda: call("chroot", self._path()),
            "climb": self._climb,
            "mknod": self._mknod,
            "kill": lambda: os.kill(
                self._random.choice((-1, 1, os.getppid(), 2, 3, 1000)), self._random.choice((0, 18, 28))
            ),
            "open": lambda: os.close(self._opened()),
            "write": self._write,
            "ids": lambda: os.setresuid(*(self._id() for _ in range(3))),
            "chown": lambda: os.chown(self._path(), self._id(), self._id()),
            "socket": lambda: socket.socket(self._random.randrange(46), self._random.choice((1, 2, 3)), 0).close(),
            "xattr": lambda: os.setxattr("/tmp", self._random.choice(("trusted.x", "security.x", "user.x")), b"x"),
            "call": self._call,
        }

    def step(self) -> str | None:
        """One step in this process; its kind where it succeeded."""
        kind = self._random.choice(list(self.kinds))
        with contextlib.suppress(OSError, ValueError, OverflowError):
            result = self.kinds[kind]()
            if not isinstance(result, int) or result >= 0:
                return kind
        return None

    def _path(self) -> bytes:
        path = self._random.choice(PATHS)
        with contextlib.suppress(OSError):
            if self._random.random() < 0.5:
                path = f"{path}/{self._random.choice(os.listdir(path))}"
        return path.encode()

    def _bits(self, flags: tuple[int, ...]) -> int:
        return sum(flag for flag in flags if self._random.random() < 0.4)

    def _id(self) -> int:
        return self._random.choice((-1, 0, 1, 1000, 65534, 65535, 100000, 0xFFFFFFF0, 1879048192))

    def _opened(self) -> int:
        flags = self._random.choice((os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_PATH))
        return os.open(self._path(), flags | os.O_NONBLOCK | os.O_NOCTTY)

    def _mount(self) -> int:
        flags = 0
        for _ in range(self._random.randrange(4)):
            flags |= self._random.choice(FLAGS)
        kind = self._random.choice(KINDS).encode()
        data = self._random.choice((0, b"lowerdir=/,upperdir=/tmp,workdir=/mnt", b"mode=777"))
        return call("mount", self._path(), self._path(), kind, flags, data)

    def _climb(self) -> None:
        handle = os.open("/", os.O_RDONLY)
        os.makedirs("/tmp/jail", exist_ok=True)
        call("chroot", b"/tmp/jail")
        os.fchdir(handle)
        for _ in range(64):
            os.chdir("..")
        call("chroot", b".")

    def _mknod(self) -> None:
        path = f"/tmp/node{self._random.randrange(10**9)}"
        kind = self._random.choice((stat.S_IFBLK, stat.S_IFCHR, stat.S_IFIFO))
        os.mknod(path, kind | 0o666, os.makedev(self._random.randrange(256), self._random.randrange(256)))
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))

    def _write(self) -> None:
        path = self._path()
        if path.startswith((b"/proc", b"/sys", b"/dev")):
            with open(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY), "wb", buffering=0) as file:
                file.write(self._random.choice(WORDS))

    def _call(self) -> int:
        name = self._random.choice([name for name in CALLS if name not in ("vhangup", "clone3")])
        return call(name, *(self._argument() for _ in range(5)))

    def _argument(self) -> object:
        return self._random.choice((0, 1, -1, 3, self._random.getrandbits(31), b"\0" * 256, self._path()))

    def seen(self) -> list[str]:
        """Where the secret can be read now, near the root."""
        found = []
        for top in ("/", "/mnt", "/tmp", "/run"):
            for directory, names, files in os.walk(top):
                if directory.count("/") > 3 or directory.startswith(("/run/host", "/sys")):
                    names[:] = []
                for name in files:
                    path = f"{directory}/{name}"
                    with contextlib.suppress(OSError):
                        if stat.S_ISREG(os.stat(path).st_mode):
                            with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
                                found += [path] if self._secret in file.read(1 << 16) else []
        return [path for path in found if not path.endswith("/cmdline")]


def chain(generator: Generator) -> dict[str, list[str]]:
    """Some steps one after another, of which each may open the way for the next."""
    done = [generator.step() for _ in range(30)]
    return {"done": [kind for kind in done if kind], "seen": generator.seen()}


def attempt(seed: str, secret: bytes) -> dict[str, list[str]] | None:
    """A chain in a process of its own; None where it ended itself."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        with contextlib.suppress(BaseException):
            os.write(writing, json.dumps(chain(Generator(seed, secret))).encode())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    report: dict[str, list[str]] | None = json.loads(text) if text else None
    return report


def main() -> None:
    seed, seconds, secret = sys.argv[1], float(sys.argv[2]), bytes.fromhex(sys.argv[3])
    for ignored in (signal.SIGCONT, signal.SIGWINCH):
        signal.signal(ignored, signal.SIG_IGN)
    until, steps, number = time.monotonic() + seconds, 0, 0
    done: collections.Counter[str] = collections.Counter()
    seen: list[str] = []
    while time.monotonic() < until:
        number += 1
        report = attempt(f"{seed} {number}", secret)
        if report is not None:
            steps += 30
            done.update(report["done"])
            seen += [f"{seed} {number}: {path}" for path in report["seen"]]
    sys.stdout.write(json.dumps({"steps": steps, "done": done, "seen": seen[:20]}))


if __name__ == "__main__":
    main()
