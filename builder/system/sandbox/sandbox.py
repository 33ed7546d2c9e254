"""Namespaces in which packages and recipes may run: nothing of the host, and nothing left behind, whatever is killed.

What is used: unshare(1) for private mount, pid, ipc, uts, cgroup and network namespaces; `--kill-child` and
`setpriv --pdeathsig KILL` so that the end of this process, even by SIGKILL, ends all of it; init.py inside, which goes
on to a user namespace. Runs in a process of userns/inside.py, whose ids the image's owners are.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builder.errors import AuditError, CommandError, HostError
from builder.system.run import Runner, Tool
from builder.system.sandbox.calls import filter_program
from builder.system.sandbox.cgroup import own_cgroup
from builder.system.sandbox.init import BAD_TREE, FAILED
from builder.system.sandbox.network import NetworkAccess, outside_network
from builder.system.sandbox.terminal import attach
from builder.system.userns.ids import CALLER

TOOLS = (Tool("unshare", "util-linux", "util-linux"), Tool("setpriv", "util-linux", "util-linux"))
MINIMUM_KERNEL = (5, 12)  # mount_setattr(2)
_MOST_LINKS = 40  # the kernel's own limit, path_resolution(7)
_INIT = Path(__file__).with_name("init.py")
# what programs of the host need of it: themselves, libraries, and tables without secrets
_HOST = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/var/lib/ca-certificates"),
    *(f"/etc/{name}" for name in ("alternatives", "ca-certificates", "crypto-policies", "pki", "ssl")),
    *(f"/etc/{name}" for name in ("apt", "dpkg", "perl", "makepkg.conf", "makepkg.conf.d", "pacman.conf", "pacman.d")),
    *(f"/etc/{name}" for name in ("gai.conf", "group", "host.conf", "ld.so.cache", "localtime", "nsswitch.conf")),
    *(f"/etc/{name}" for name in ("os-release", "passwd", "protocols", "services")),
)


def followed_links(path: Path) -> Iterator[tuple[str, str]]:
    """The symbolic links on the way to an absolute path and where each points, as path_resolution(7) follows them."""
    done, rest, followed = Path("/"), path.parts[1:], 0
    while rest and followed < _MOST_LINKS:
        here = done.parent if rest[0] == ".." else done / rest[0]
        rest = rest[1:]
        if here.is_symlink():
            target = here.readlink()
            yield str(here), str(target)
            rest = (*target.parts, *rest)  # an absolute one begins with /, which starts anew
            followed += 1
        else:
            done = here


def namespace_prefix(*, network: bool) -> list[str]:
    """The command that runs what follows it in fresh namespaces which die with this process.

    The death signal is bound to the *thread* that starts it, prctl(2): start it from one that lives long enough.
    With `network` the host's network is shared, without it there is none.
    """
    prefix = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--ipc", "--uts", "--cgroup"]
    if not network:
        prefix.append("--net")
    return [*prefix, "--fork", "--kill-child", "--propagation", "private", "--"]


@dataclass(frozen=True)
class Sandbox:
    """A file system view for commands of a build; each `run` gets fresh namespaces.

    directory: an empty directory of the work directory, where the view is put together
    writable: the only host directories that can be written (the build's work and cache)
    readable: host files and directories that stay visible although they lie below /tmp, /run or /dev; like those above
        they are found by the given path, whatever links it leads through
    prepared: a tree that gets its mounts (/proc, /dev, ...) without being entered, for programs that do so themselves
    temporary: TMPDIR of the commands, inside a writable directory
    places: further names of writable directories, below /run/diskless: plain words, for programs' configurations
    only: where it is given, nothing else of what is writable can be written: for what runs programs of packages, which
        may leave links wherever they can write
    """

    runner: Runner
    directory: Path
    writable: tuple[Path, ...]
    temporary: Path
    readable: tuple[Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    prepared: Path | None = None
    places: Mapping[str, Path] = field(default_factory=dict)
    only: tuple[Path, ...] | None = None

    def name(self, path: Path) -> str:
        """What a path is called inside, in words that mean nothing else to any program, if it is below a place."""
        for place, directory in self.places.items():
            if path.is_relative_to(directory):
                return str(Path(place) / path.relative_to(directory))
        return str(path)

    def run(
        self,
        argv: Sequence[str],
        *,
        chroot: Path | None = None,
        network: NetworkAccess = NetworkAccess.NONE,
        env: Mapping[str, str] | None = None,
        capture: bool = False,
        hint: str | None = None,
        log_output: bool = True,
        mounts: Mapping[str, Path] | None = None,
    ) -> str:
        """Runs `argv` in the sandbox, with `chroot` as its root if given, and returns what Runner.run returns.

        `mounts` are further host directories, read-only, by the path below /run or /tmp where `argv` finds them.
        With a network a `chroot` sees another resolv.conf than its own.

        Raises CommandError as Runner.run does, and HostError when the sandbox itself cannot be made.
        """
        environment = {**self.environment, **(env or {})}
        if chroot is None and self.prepared is None:  # no path of the host is one in the tree
            environment.setdefault("TMPDIR", self.name(self.temporary))
        with self._started(argv, chroot, network, mounts or {}) as (command, files):
            try:
                return self.runner.run(
                    command,
                    env=environment,
                    name=" ".join(argv),
                    capture=capture,
                    hint=hint,
                    log_output=log_output,
                    files=files,
                )
            except CommandError as error:
                bad = [line for line in error.details if line.startswith(BAD_TREE)]
                if error.status == FAILED and bad:
                    message = bad[0].removeprefix(BAD_TREE)
                    raise AuditError(
                        message, "no program of the image can run there: it has to be a directory"
                    ) from error
                if error.status == FAILED and any(line.startswith("sandbox: ") for line in error.details):
                    message, remedy = "the build's sandbox cannot be made here", "`diskless doctor` says what to allow"
                    raise HostError(message, remedy, error.details) from error
                raise

    def attach(
        self, argv: Sequence[str], *, chroot: Path, network: NetworkAccess = NetworkAccess.NONE, env: Mapping[str, str]
    ) -> int:
        """Runs `argv` with `chroot` as its root and a terminal of its own, which is shown in this process's.

        Returns its exit status; nothing is logged.
        """
        environment = {**self.environment, **env}
        return attach(lambda channel: self._started(argv, chroot, network, {}, terminal=channel), environment)

    @contextlib.contextmanager
    def _started(
        self,
        argv: Sequence[str],
        chroot: Path | None,
        network: NetworkAccess,
        mounts: Mapping[str, Path],
        *,
        terminal: int | None = None,
    ) -> Iterator[tuple[list[str], tuple[int, ...]]]:
        """The command that makes the sandbox, and the open files that it takes with it."""
        with outside_network(network) as attached, own_cgroup() as enter_group:
            plan = {
                **self._plan(argv, chroot, mounts),
                "network": str(network),
                "resolver": attached.resolver,
                "terminal": terminal,
                "filter": filter_program(ignore_sync=network is NetworkAccess.NONE).hex(),
            }
            prefix = attached.prefix or namespace_prefix(network=network is NetworkAccess.HOST)
            with _planned((*enter_group, *prefix), plan) as (command, files):
                yield command, (*files, *attached.files, *(() if terminal is None else (terminal,)))

    def _plan(self, argv: Sequence[str], chroot: Path | None, mounts: Mapping[str, Path]) -> dict[str, Any]:
        writable = self.writable if self.only is None else self.only
        given = [[str(source), target] for target, source in mounts.items()]
        closed = [path for path in self.writable if path not in writable]
        readable = [path for path in map(os.path.realpath, (*closed, *self.readable)) if not _is_shown(path)]
        links = [link for path in (*self.writable, *self.readable) for link in followed_links(path)]
        return {
            "root": str(self.directory),
            "host": _HOST,
            "writable": [*([path, path] for path in map(os.path.realpath, writable)), *self._named(writable)],
            "readable": [*([path, path] for path in readable), *self._named(closed), *([] if chroot else given)],
            "links": [link for link in links if not _is_shown(link[0])],
            "inside": given if chroot else [],
            "prepared": None if self.prepared is None else str(self.prepared),
            "chroot": None if chroot is None else str(chroot),
            "ids": _own_ids(),
            "argv": list(argv),
        }

    def _named(self, paths: Iterable[Path]) -> list[list[str]]:
        """Under the names that they have below a place, if they have one."""
        return [[str(path), name] for path in paths if (name := self.name(path)) != str(path)]


def require_open(directories: Iterable[Path]) -> None:
    """HostError for a directory that the programs of a build, which are nobody here, could not look into."""
    for path in directories:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode) and mode & 0o005 != 0o005:
            message = f"{path} is not open to others, and the programs of a build have ids of their own"
            raise HostError(message, f"chmod -R o+rX {shlex.quote(str(path))}")


@contextlib.contextmanager
def trial_command() -> Iterator[tuple[list[str], tuple[int, ...]]]:
    """Makes a sandbox, in which nothing is done, and ends with status 0 if that works; stderr has the reason if not.

    The command, and the open files that it takes with it.
    """
    nothing: dict[str, Any] = {"writable": [], "readable": [], "links": [], "inside": [], "resolver": None}
    plan = {
        **nothing,
        "root": "/tmp",
        "host": _HOST,
        "network": str(NetworkAccess.NONE),
        "prepared": None,
        "chroot": None,
    }
    code = filter_program(ignore_sync=True).hex()
    plan |= {"ids": _own_ids(), "terminal": None, "filter": code, "argv": ["true"]}
    with _planned(namespace_prefix(network=False), plan) as planned:
        yield planned


def _is_shown(path: str) -> bool:
    return any(path == shown or path.startswith(f"{shown}/") for shown in _HOST)


def _own_ids() -> dict[str, list[list[int]]]:
    """The ids of this process's user namespace, without its caller's: those of the image."""
    maps = {}
    for kind in ("uid", "gid"):
        lines = [line.split() for line in Path(f"/proc/self/{kind}_map").read_text("ascii").splitlines()]
        if not any(int(first) == CALLER for first, _, _ in lines):  # it would be the host's own ids
            raise AssertionError("a sandbox outside of a build's user namespace")
        maps[kind] = [[int(first), int(first), int(count)] for first, _, count in lines if int(first) < CALLER]
    return maps


@contextlib.contextmanager
def _planned(prefix: Sequence[str], plan: Mapping[str, Any]) -> Iterator[tuple[list[str], tuple[int, ...]]]:
    # in memory: whoever runs this may have no right to read what lies in the caller's directories
    with open(os.memfd_create("init"), "wb") as program, open(os.memfd_create("plan"), "wb") as file:
        for written, text in ((program, _INIT.read_bytes()), (file, json.dumps(plan).encode())):
            written.write(text)
            written.flush()
            written.seek(0)
        names = (f"/dev/fd/{program.fileno()}", str(file.fileno()))
        # of the host, as its programs are: what is left of it in /proc/1/cmdline says nothing
        python = os.path.realpath(sys.executable)
        yield [*prefix, python, "-I", "-S", *names], (program.fileno(), file.fileno())
