"""Namespaces in which packages may run: the host read-only, nothing left behind, whatever is killed.

What is used: unshare(1) for private mount, pid, ipc, uts and network namespaces; `--kill-child` and
`setpriv --pdeathsig KILL` so that the end of this process, even by SIGKILL, ends all of it; sandbox_init.py inside.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builder.errors import CommandError, HostError
from builder.system.run import Runner, Tool, attach
from builder.system.sandbox_init import FAILED, FRESH

TOOLS = (Tool("unshare", "util-linux", "util-linux"), Tool("setpriv", "util-linux", "util-linux"))
MINIMUM_KERNEL = (5, 12)  # mount_setattr(2)
_MOST_LINKS = 40  # the kernel's own limit, path_resolution(7)
_INIT = str(Path(__file__).with_name("sandbox_init.py"))


HIDING = tuple(f"{os.path.realpath(path)}/" for path in (*FRESH, "/dev"))  # directories that are fresh in a sandbox


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
    prefix = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--ipc", "--uts"]
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
    """

    runner: Runner
    directory: Path
    writable: tuple[Path, ...]
    temporary: Path
    readable: tuple[Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    prepared: Path | None = None
    places: Mapping[str, Path] = field(default_factory=dict)

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
        network: bool = False,
        env: Mapping[str, str] | None = None,
        capture: bool = False,
        hint: str | None = None,
        log_output: bool = True,
        mounts: Mapping[str, Path] | None = None,
    ) -> str:
        """Runs `argv` in the sandbox, inside `chroot` if given, and returns what Runner.run returns.

        `mounts` are further host directories, read-only, by the path below /run or /tmp where `argv` finds them.
        With `network` a `chroot` sees the host's resolv.conf.

        Raises CommandError as Runner.run does, and HostError when the sandbox itself cannot be made.
        """
        environment = {**self.environment, **(env or {})}
        if chroot is None and self.prepared is None:  # no path of the host is one in the tree
            environment.setdefault("TMPDIR", self.name(self.temporary))
        command = self._command(argv, chroot, network=network, mounts=mounts or {})
        try:
            return self.runner.run(
                command, env=environment, name=" ".join(argv), capture=capture, hint=hint, log_output=log_output
            )
        except CommandError as error:
            if error.status == FAILED and any(line.startswith("sandbox: ") for line in error.details):
                raise HostError(
                    "the build's sandbox cannot be made here",
                    "run as root, outside a container that forbids mounts, on Linux 5.12 or newer",
                    error.details,
                ) from error
            raise

    def attach(self, argv: Sequence[str], *, chroot: Path, network: bool = False, env: Mapping[str, str]) -> int:
        """Runs `argv` inside `chroot` with this process's terminal, and returns its exit status; nothing is logged."""
        return attach(self._command(argv, chroot, network=network, mounts={}), {**self.environment, **env})

    def _command(
        self, argv: Sequence[str], chroot: Path | None, *, network: bool, mounts: Mapping[str, Path]
    ) -> list[str]:
        given = [[str(source), target] for target, source in mounts.items()]
        writable = [os.path.realpath(path) for path in self.writable]
        readable = [path for path in map(os.path.realpath, self.readable) if path.startswith(HIDING)]
        links = [link for path in (*self.writable, *self.readable) for link in followed_links(path)]
        plan = {
            "root": str(self.directory),
            "writable": [
                *([path, path] for path in writable),
                *([str(path), name] for name, path in self.places.items()),
            ],
            "readable": [[path, path] for path in readable] + ([] if chroot else given),
            "links": [link for link in links if link[0].startswith(HIDING)],
            "inside": given if chroot else [],
            "network": network,
            "prepared": None if self.prepared is None else str(self.prepared),
            "chroot": None if chroot is None else str(chroot),
            "argv": list(argv),
        }
        return _planned(plan)


def trial_command() -> list[str]:
    """Makes a sandbox, in which nothing is done, and ends with status 0 if that works; stderr has the reason if not."""
    nothing: dict[str, Any] = {"writable": [], "readable": [], "links": [], "inside": []}
    return _planned({**nothing, "root": "/tmp", "network": False, "prepared": None, "chroot": None, "argv": ["true"]})


def _planned(plan: Mapping[str, Any]) -> list[str]:
    return [*namespace_prefix(network=plan["network"]), sys.executable, "-I", "-S", _INIT, json.dumps(plan)]
