"""A minimal root of a Debian release, and commands in it. Nothing is left of it, whatever is killed."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.system.guarded.locks import locked
from builder.system.guarded.private import made_directory
from builder.system.guarded.removal import remove_tree
from builder.system.sandbox.sandbox import namespace_prefix
from builder.system.workspace import open_workspace
from tests.hosts.outside import ANCHORS, Outside

IDENTIFIERS = {"root": 0, "user": 1000}
HOMES = {"root": "/root", "user": "/home/user"}
_BASE_SECONDS = 7 * 24 * 3600  # an older one would install packages that the mirror no longer has
# servers would start in the outside's network, where nothing else keeps them from it
_NO_SERVERS = "#!/bin/sh\nexit 101\n"
_NAME = "stranger"


class MachineError(Exception):
    """A machine could not be made, or is gone."""


@dataclass(frozen=True)
class Places:
    """Where machines are: `directory` holds base roots, package caches, logs and the machines that live."""

    directory: Path

    def base(self, release: str) -> Path:
        """A root that is copied for each machine."""
        return self.directory / f"base-{release}"

    @property
    def logs(self) -> Path:
        """One file a cell."""
        return self.directory / "logs"

    @property
    def bundle(self) -> Path:
        """The commit that strangers clone."""
        return self.directory / "diskless.bundle"

    def archives(self, release: str) -> Path:
        """What apt has fetched for a release."""
        return self.directory / f"archives-{release}"


def make_base(places: Places, release: str, packages: Sequence[str], outside: Outside, log: Path) -> Path:
    """A root of mmdebstrap's minbase with `packages`, or the one that is there if it is young; raises MachineError."""
    base = places.base(release)
    base.parent.mkdir(parents=True, exist_ok=True)
    with locked(Path(f"{base}.lock"), "another run makes the same base", print):
        # of a time to come: a clock that was wrong has made it, nobody knows when
        if base.is_dir() and 0 <= time.time() - base.stat().st_mtime < _BASE_SECONDS:
            return base
        new = base.with_suffix(".new")
        for path in (new, base):
            if path.exists():
                remove_tree(path)
        _bootstrap(new, release, packages, outside, log)
        new.rename(base)
    return base


def _bootstrap(root: Path, release: str, packages: Sequence[str], outside: Outside, log: Path) -> None:
    settings = log.with_suffix(".apt")
    settings.write_text(outside.apt, encoding="utf-8")
    command = ["mmdebstrap", "--variant=minbase", f"--include={','.join(packages)}", f"--aptopt={settings}"]
    command += ["--format=directory", release, str(root), *outside.sources(release)]
    # a process namespace of its own needs its own /proc
    words = [*namespace_prefix(network=True), "sh", "-c", 'mount -t proc proc /proc && exec "$@"', "sh", *command]
    with log.open("ab") as output:
        status = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False).returncode
    if status != 0:
        raise MachineError(f"mmdebstrap {release}: exit status {status}; see {log}")
    os.utime(root)


class Machine:
    """A machine that runs; commands are ordered with `run`."""

    def __init__(self, process: subprocess.Popen[str], log: Path, environment: dict[str, str]) -> None:
        self.log = log
        self._process = process
        self._environment = environment

    def run(
        self,
        line: str,
        user: str,
        *,
        umask: int = 0o022,
        environment: Sequence[tuple[str, str]] = (),
        while_waiting: Callable[[], None] = lambda: None,
    ) -> int:
        """Runs a line of the shell as a user who has just logged in, and returns its exit status."""
        home = HOMES[user]
        variables = {
            **self._environment,
            "HOME": home,
            "USER": user,
            "LOGNAME": user,
            "SHELL": "/bin/bash",
            "TERM": "dumb",
        }
        order = {
            "argv": ["/bin/bash", "-l", "-c", line],
            "id": IDENTIFIERS[user],
            "umask": umask,
            "environment": {**variables, **dict(environment)},
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._await_status(while_waiting)

    @property
    def variables(self) -> list[str]:
        """The names of those that come from outside."""
        return list(self._environment)

    def check(self, line: str, user: str = "root") -> None:
        """Runs a line of what makes the machine; MachineError where it fails."""
        status = self.run(line, user)
        if status != 0:
            raise MachineError(f"{line}: exit status {status}; see {self.log}")

    def _await_status(self, while_waiting: Callable[[], None]) -> int:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        while not select.select([descriptor], [], [], 1)[0]:
            while_waiting()
        answer = self._process.stdout.readline()
        if not answer:
            raise MachineError(f"the machine is gone; see {self.log}")
        return int(answer)


@contextlib.contextmanager
def running_machine(
    places: Places, release: str, base: Path, outside: Outside, log: Path, given: Sequence[Path]
) -> Iterator[Machine]:
    """A copy of a base root, running; `given` are files that lie in its /srv. Removed at the end."""
    archives = places.archives(release)
    archives.mkdir(exist_ok=True)
    with (
        open_workspace(made_directory(places.directory / "machines", 0o755), print) as workspace,
        log.open("ab") as output,
    ):
        subprocess.run(["cp", "-a", "--reflink=auto", base, workspace.tree], check=True, stdin=subprocess.DEVNULL)
        _furnish(workspace.tree, outside, given)
        plan = {
            "root": str(workspace.tree),
            "name": _NAME,
            "tmpfs": release != "bookworm",  # since Debian 13 /tmp is one
            "writable": [[str(archives), "/var/cache/apt/archives"]],
            "readable": [
                str(path) for path in (*outside.paths, Path("/lib/modules") / os.uname().release) if path.exists()
            ],
        }
        command = [*namespace_prefix(network=True), sys.executable, "-B", "-m", "tests.hosts.init", json.dumps(plan)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, encoding="utf-8"
        )
        try:
            machine = Machine(process, log, dict(outside.environment))
            machine.check("update-ca-certificates")
            yield machine
        finally:
            process.kill()
            process.communicate()


def _furnish(root: Path, outside: Outside, given: Sequence[Path]) -> None:
    """What a stranger's machine has before its owner reads the README."""
    resolver = root / "etc/resolv.conf"
    resolver.unlink(missing_ok=True)
    shutil.copyfile("/etc/resolv.conf", resolver)
    hosts = f"127.0.0.1 localhost {_NAME}\n::1 localhost {_NAME}\n"
    for name, text in {
        "etc/hosts": hosts,
        "etc/hostname": f"{_NAME}\n",
        "etc/pip.conf": outside.pip,
        "etc/apt/apt.conf.d/99outside": outside.apt,
        "usr/sbin/policy-rc.d": _NO_SERVERS,
    }.items():
        (root / name).write_text(text, encoding="utf-8")
    (root / "usr/sbin/policy-rc.d").chmod(0o755)
    for anchor in (path for directory in ANCHORS for path in directory.glob("*.crt")):
        shutil.copy(anchor, root / "usr/local/share/ca-certificates")
    for path in given:
        shutil.copy(path, root / "srv" / path.name)


def add_user(machine: Machine) -> None:
    """An ordinary user, who may become root by sudo without a password."""
    kept = " ".join(machine.variables)
    machine.check("apt-get -q update && apt-get -q install -y --no-install-recommends sudo")
    machine.check("useradd --create-home --shell /bin/bash --user-group --uid 1000 user")
    machine.check(f"echo 'user ALL=(ALL) NOPASSWD: ALL\nDefaults env_keep += \"{kept}\"' > /etc/sudoers.d/user")
