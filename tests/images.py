"""Real images for the tests, built by the command line as a user would."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from builder.system.host import debian_suite
from builder.system.userns.ids import find_ids
from tests.scratch import scratch

if TYPE_CHECKING:
    from tests.users import User

# what a path may hold, and means something in the configuration of some program
UNUSUAL = 'it\'s 100% #1 ü, a:b; "q" back\\slash'
ROOT = Path(__file__).parent.parent
# the variable that holds the umask of whoever started the tests, in octal
STARTED_UMASK = "DISKLESS_TEST_UMASK"
DISKLESS = str(Path(sys.executable).with_name("diskless"))


# in a mount namespace of its own; what is in /usr/local/sbin comes first in the PATH of a build
_BEHIND = ("unshare", "--mount", "--propagation=private", "sh", "-c", 'mount --bind "$0" /usr/local/sbin && exec "$@"')


def _started_umask() -> int:
    return int(os.environ.get(STARTED_UMASK, "22"), 8)


def run_diskless(
    *arguments: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    umask: int | None = None,
    programs: Path | None = None,
    user: User | None = None,
) -> subprocess.CompletedProcess[str]:
    """The command, whatever its exit status, under the umask of whoever started the tests if no other is given.

    programs: a directory of programs that hide the host's; user: who runs it, if it is not who runs the tests
    """
    prefix = [] if programs is None else [*_BEHIND, str(programs)]
    program = DISKLESS
    if user is not None:
        prefix += user.prefix()
        program = str(user.program)
        env = {**user.environment(), **(env or {})}
    return subprocess.run(
        [*prefix, program, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        umask=_started_umask() if umask is None else umask,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def build_cache(cache: Path) -> Path:
    """Where builds of this process's user keep what is theirs below --cache."""
    return cache / f"ids-{find_ids().name}"


def own(top: Path) -> None:
    """Makes root's files those of a build's user namespace."""
    user, group = find_ids().users[0].outside, find_ids().groups[0].outside
    for path in (top, *top.rglob("*")):
        os.chown(path, user, group, follow_symlinks=False)


def write_recipe(directory: Path, base: str = "debian-nfs", **changes: Any) -> Path:
    """A recipe of the project with some top-level keys replaced, as NAME.yml in `directory`."""
    recipe = yaml.load((ROOT / "recipes" / f"{base}.yml").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    path = directory / f"{base}.yml"
    path.write_text(yaml.safe_dump({**recipe, **changes}, sort_keys=False), encoding="utf-8")
    return path


@functools.cache
def ssh_key() -> Path:
    """A private ssh key made for this test run; the public one beside it."""
    path = scratch() / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", path], check=True)
    return path


def build_image(
    image: str, base: str = "debian-nfs", *, fresh: bool = False, programs: Path | None = None, **changes: Any
) -> Path:
    """The version directory of a recipe of the project with other top-level keys."""
    directory = scratch() / "recipes" / image
    directory.mkdir(parents=True, exist_ok=True)
    recipe = write_recipe(directory, base, image=image, **changes)
    options = ["--fresh"] if fresh else []
    result = run_diskless("build", recipe, "--output", scratch() / UNUSUAL, *options, programs=programs)
    assert result.returncode == 0, result.stderr
    return Path(result.stdout.strip())


@functools.cache
def debian_image() -> Path:
    """The Debian recipe with a key for root, built once a test run."""
    return build_image("debian-nfs", system=_with_root())


def other_suite() -> str:
    """A release of Debian that is not this host's: client and server of one release agree too easily."""
    return "bookworm" if debian_suite() == "trixie" else "trixie"


@functools.cache
def other_image() -> Path:
    """The same of another release, built once a test run."""
    suite = other_suite()
    return build_image(suite, distribution={"name": "debian", "suite": suite}, system=_with_root())


def _with_root() -> dict[str, Any]:
    public_key = ssh_key().with_suffix(".pub").read_text(encoding="ascii").strip()
    users = [{"name": "root", "ssh_keys": [public_key]}]
    return {"hostname": "diskless", "services": ["ssh"], "users": users}


@functools.cache
def overlay_image() -> Path:
    """The Debian recipe of a shared read-only root with a key for root, built once a test run."""
    return build_image("debian-nfs-overlay", "debian-nfs-overlay", files=[authorized_key()])


def authorized_key() -> dict[str, str]:
    """The file that lets this test run in as root, for a recipe's `files`."""
    public_key = ssh_key().with_suffix(".pub").read_text(encoding="ascii")
    return {"path": "/root/.ssh/authorized_keys", "text": public_key, "mode": "0600"}


@contextlib.contextmanager
def running_diskless(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """The command in the background, its messages to be read from `stderr`; killed at the end."""
    process = subprocess.Popen(
        [DISKLESS, *map(str, arguments)],
        umask=_started_umask(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@dataclass(frozen=True)
class Process:
    """A process that ran at some moment; `started` tells it from a later one with the same number."""

    pid: int
    started: str
    command: str


def descendants(pid: int) -> set[Process]:
    """Everything that runs below `pid`, in whatever namespaces."""
    found: set[Process] = set()
    parents = {pid}
    while parents:
        children = {
            process for process, parent in map(_process, Path("/proc").glob("[0-9]*/stat")) if parent in parents
        }
        found |= {process for process in children if process is not None}
        parents = {process.pid for process in children if process is not None}
    return found


def wait_until_gone(processes: set[Process]) -> set[Process]:
    """Those that are still there after a while."""
    for _ in range(50):
        left = {process for process in processes if _process(Path(f"/proc/{process.pid}/stat"))[0] == process}
        if not left:
            break
        time.sleep(0.1)
    return left


def loop_devices(directory: Path) -> list[str]:
    """Those that show a file below a directory; one that is about to go is waited for."""
    for _ in range(50):
        left = []
        for path in Path("/sys/block").glob("loop*/loop/backing_file"):
            try:
                name = path.read_text("utf-8", "surrogateescape")
            except OSError:
                continue
            if name.startswith(f"{directory}/"):
                left.append(name.strip())
        if not left:
            break
        time.sleep(0.1)
    return left


def _process(path: Path) -> tuple[Process | None, int]:
    """The process and its parent; None where it is gone."""
    try:
        head, _, tail = path.read_text(encoding="utf-8", errors="replace").rpartition(")")
    except OSError:
        return None, 0
    fields = tail.split()
    return Process(int(path.parent.name), fields[19], head.partition("(")[2]), int(fields[1])


def processes_naming(*words: str) -> list[str]:
    """The command lines of this machine that hold all of `words`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if all(word in command for word in words):
                found.append(command)
    return found


def processes_started_for(directory: Path) -> list[str]:
    """The command lines of processes that have the directory in their environment, as TMPDIR of what a build starts."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if os.fsencode(directory) in path.read_bytes():
                found.append(path.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found
