"""Stopping a command at a system call that changes a store, or making the call fail: found and done with strace(1).

The command runs in a child of a worker process that has everything imported; strace attaches to its only thread, so
the numbers of its calls are the same in each run, and the threads that only read and decompress are left alone. A
process that is stopped on entry of a call never makes it: that is the moment before it, and after the one before.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import subprocess
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.deploy import adopt_kernel, prune, rollback
from builder.errors import DisklessError
from builder.model.generation import BootName
from builder.storage import StorageOptions, set_up_storage
from builder.store.inspection.verification import EXPORTS, Severity, verify
from builder.store.layout import find_store
from builder.store.pruning import PruneOptions
from builder.system.private_mounts import private_mounts
from tests.releases import unpack_release
from tests.shares import make_shares, mount_shares, mounted
from tests.stores import active, deployed, faults, named, quiet, unreferenced

_CALLS = (
    "openat,open,creat,write,pwrite64,writev,sendfile,copy_file_range,ioctl,ftruncate,truncate,rename,renameat,"
    "renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,mkdir,mkdirat,rmdir,chmod,fchmod,fchmodat,chown,fchown,"
    "fchownat,lchown,utimensat,setxattr,lsetxattr,fsetxattr,removexattr,fsync,fdatasync,syncfs"
)
_LINE = re.compile(r"(?:\d+ +)?([a-z0-9_]+)\((.*)")
_READS = re.compile(r"^open(?:at)?\((?!.*O_(?:CREAT|TRUNC|WRONLY|RDWR))")
# asking a terminal, taking the lock, a directory that is there already
_HARMLESS = ("TCGETS", "/.lock", "O_TMPFILE", "0777) = -1 EEXIST")
_SHARE_SIZE = 128 << 20
_NAMINGS = ("rename", "renameat", "symlink", "symlinkat", "syncfs", "rmdir")
_SYNCS = ("fsync", "fdatasync", "syncfs")
KILL, ENOSPC, EDQUOT, EIO = "signal=KILL", "error=ENOSPC", "error=EDQUOT", "error=EIO"


@dataclass(frozen=True)
class Call:
    """The `number`th call (from 1) of `name` in the run; `what` is its line with the random parts of names left out."""

    name: str
    number: int
    what: str

    @property
    def is_sync(self) -> bool:
        """Whether its failure means that something is not on disk."""
        return self.name in _SYNCS


@dataclass(frozen=True)
class Scenario:
    """A store to begin with, made once, the command that is disturbed, and the version that is deployed afterwards."""

    name: str
    start: Path
    action: str
    argument: str
    following: str

    @property
    def mounts(self) -> bool:
        """Whether its roots lie on file systems of their own, or will."""
        return self.action == "storage" or (self.start / "filesystems").is_dir()


def run_action(action: str, argument: str, store: Path) -> None:
    """The command under test."""
    if action == "deploy":
        deployed(store, Path(argument))
    elif action == "deploy-replacing-loaders":
        deployed(store, Path(argument), replace_loaders=True)
    elif action == "rollback":
        rollback(store, argument, None, quiet())
    elif action == "storage":
        sizes = {} if argument else {"ro": _SHARE_SIZE, "rw": _SHARE_SIZE}
        set_up_storage(store, StorageOptions(sizes, end_old=bool(argument)), quiet())
    elif action == "prune":
        prune(store, PruneOptions(keep=1, minimum_age=0, force=True), quiet())
    else:
        assert action == "refresh"
        adopt_kernel(store, argument, None, quiet())


def record_calls(scenario: Scenario) -> list[Call]:
    """Every call of an undisturbed run that changes something below the store, in order."""
    with tempfile.TemporaryDirectory(dir=scenario.start.parent) as place:
        Path(place).chmod(0o711)  # servers that give root up serve what lies there
        store = _copy(scenario, Path(place))
        log = Path(place, "trace")
        with ready(scenario, store):
            status, message = run_traced(scenario, store, tracing(log))
        assert status == 0, message
        return parse_calls(log.read_text("utf-8", "replace"), store)


def parse_calls(text: str, store: Path) -> list[Call]:
    counts: dict[str, int] = {}
    calls = []
    for line in text.splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        name = found[1]
        counts[name] = counts.get(name, 0) + 1
        if str(store) in line and not _READS.match(line) and not any(word in line for word in _HARMLESS):
            what = re.sub(r"(\.tmp-|inode-)[^/\">]*|\d+<|, 0x[0-9a-f]+| = .*", r"\1", line.replace(str(store), ""))
            calls.append(Call(name, counts[name], what))
    return calls


def sites(calls: Sequence[Call]) -> list[Call]:
    """The calls that stand for all: the first and the last of each kind; calls on files of a root are of one kind."""
    first: dict[tuple[str, str], Call] = {}
    last: dict[tuple[str, str], Call] = {}
    for call in calls:
        kind = (call.name, re.sub(r"root[/>\"].*|, [0-9]+\)$", "", call.what))
        first.setdefault(kind, call)
        last[kind] = call
    chosen = {*first.values(), *last.values()}
    return [call for call in calls if call in chosen]


def namings(calls: Sequence[Call]) -> list[Call]:
    """The calls that show something under a name, or take it away."""
    return [call for call in sites(calls) if call.name in _NAMINGS or "AT_REMOVEDIR" in call.what]


def tracing(log: Path) -> list[str]:
    """The options with which strace writes to `log` what parse_calls reads."""
    return ["-y", "-s", "0", "-e", f"trace={_CALLS}", "-o", str(log)]


def disturb(scenario: Scenario, call: Call, injection: str) -> str | None:
    """Runs the scenario with one call disturbed, then everything that must hold; what does not, or None."""
    with tempfile.TemporaryDirectory(dir=scenario.start.parent) as place:
        Path(place).chmod(0o711)  # servers that give root up serve what lies there
        store = _copy(scenario, Path(place))
        trace = [f"--inject={call.name}:{injection}:when={call.number}", "-o", "/dev/null"]
        with ready(scenario, store):
            before = _active(store)
            status, message = run_traced(scenario, store, [*trace, "-e", f"trace={call.name}"])
            try:
                _check_outcome(scenario, injection, call, status, message)
                _check_served(store, before, scenario, done=status == 0)
                _check_goes_on(store, scenario)
            except (AssertionError, OSError, DisklessError) as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                return f"{scenario.name}: {injection} at {call.name} {call.number} {call.what}: {where.line}: {error!r}"
    return None


def ready(scenario: Scenario, store: Path) -> contextlib.AbstractContextManager[None]:
    """With the file systems of a store that has some mounted, in mounts of this thread's own."""
    return mounted(store) if scenario.mounts else contextlib.nullcontext()


def _copy(scenario: Scenario, place: Path) -> Path:
    store = place / "store"
    if scenario.start.exists():
        subprocess.run(["cp", "-a", "--sparse=always", scenario.start, store], check=True)
    return store


def _active(store: Path) -> str | None:
    return active(store) if (store / "boot/current").is_symlink() else None


def _check_outcome(scenario: Scenario, injection: str, call: Call, status: int, message: str) -> None:
    if injection == KILL:
        assert status == -9, f"was not killed: {status} {message}"
        return
    if injection in (ENOSPC, EDQUOT):
        accepted = _when_full(scenario, call)
    else:
        # where sendfile(2) fails, shutil.copyfile goes on with read(2) and write(2)
        accepted = (0, 3) if call.name == "sendfile" else (3,)
    assert status in accepted, f"failing {call.name} ended with {status}: {message}"


def _when_full(scenario: Scenario, call: Call) -> tuple[int, ...]:
    """What a command may end with: all but a deploy begin anew, with what is held in reserve."""
    if scenario.action == "storage":
        return (0, 3)
    if not scenario.action.startswith("deploy"):
        return (0,)
    # what a deploy does without, and one that brings nothing in, which is a rollback
    spared = call.name == "sendfile" or any(word in call.what for word in (".reserve", '"/current/', "</current>"))
    return (0, 3) if spared or scenario.name.endswith("again") else (3,)


def _check_served(store: Path, before: str | None, scenario: Scenario, *, done: bool) -> None:
    """What the menus name is whole, and the active version the old one or the new one; the new one once it is done."""
    mount_shares(store)  # as the next start of the server does
    now = _active(store)
    assert not done or now == _active_at_the_end(scenario), f"said that it was done, and boots {now}"
    if now is None:
        assert before is None
        return
    assert now in (before, _active_at_the_end(scenario)), f"boots {now}"
    names = {f"{image} {BootName.parse(name).version}" for image, name in named(store)}
    found = [f for f in verify(find_store(store), deep=True) if f.kind is Severity.FAULT and f.where != EXPORTS]
    wrong = [f for f in found if f.where in names or len(f.where.split(" ")) != 2]
    assert wrong == []


@functools.cache
def _active_at_the_end(scenario: Scenario) -> str | None:
    with tempfile.TemporaryDirectory(dir=scenario.start.parent) as place:
        Path(place).chmod(0o711)  # servers that give root up serve what lies there
        store = _copy(scenario, Path(place))
        with ready(scenario, store):
            run_action(scenario.action, scenario.argument, store)
        return _active(store)


def _check_goes_on(store: Path, scenario: Scenario) -> None:
    """The next deploy works, leaves nothing unreferenced, and can be taken back."""
    served = _active(store)
    if scenario.action == "storage":
        run_action(scenario.action, scenario.argument, store)
        run_action(scenario.action, "end", store)
        assert [str(path) for path in store.glob("versions/*/*/root")] == []
    deployed(store, Path(scenario.following))
    assert unreferenced(store) == []
    assert faults(store) == []
    newest = active(store)
    if served is not None and served in {name for _, name in named(store)} - {newest}:
        rollback(store, "lab", None, quiet())
        assert active(store) == served
        assert faults(store) == []


def run_traced(scenario: Scenario, store: Path, trace: Sequence[str]) -> tuple[int, str]:
    """The command in a child with strace attached: its exit status as subprocess has it, and its last words."""
    go_read, go_write = os.pipe()
    say_read, say_write = os.pipe()
    child = os.fork()
    if child == 0:
        _be_child(go_read, say_write, lambda: run_action(scenario.action, scenario.argument, store))
    os.close(go_read)
    os.close(say_write)
    tracer = subprocess.Popen(["strace", *trace, "-p", str(child)], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert tracer.stderr is not None
    first = tracer.stderr.readline()
    assert b"attached" in first, first
    os.write(go_write, b"x")
    os.close(go_write)
    with open(say_read, encoding="utf-8") as said:
        message = said.read()
    _, status = os.waitpid(child, 0)
    tracer.communicate()
    return os.waitstatus_to_exitcode(status), message


def _be_child(go: int, say: int, run: Callable[[], None]) -> None:
    status = 70
    try:
        os.read(go, 1)
        run()
        status = 0
    except (DisklessError, OSError) as error:
        # what the command line makes a message of
        status = error.exit_code if isinstance(error, DisklessError) else 3
        os.write(say, f"{error!r}".encode())
    except BaseException as error:
        os.write(say, f"{error!r}".encode())
    finally:
        os._exit(status)


def make_scenarios(place: Path, versions: dict[str, dict[str, Path]]) -> list[Scenario]:
    """The commands that change a store; `versions` maps a mode to three versions by number."""
    found = [
        Scenario("first", place / "nothing", "deploy", str(versions["overlay"]["1"]), str(versions["overlay"]["2"]))
    ]
    for mode, by_number in versions.items():
        one, two, three = (str(by_number[number]) for number in "123")
        start = {count: place / f"{mode}-{count}" for count in "123"}
        for count, names in (("1", [one]), ("2", [one, two]), ("3", [one, two, three])):
            deployed(start[count], *map(Path, names))
            shared = place / f"{mode}-{count}-shared"
            make_shares(shared)
            with mounted(shared):
                deployed(shared, *map(Path, names))
        for name, places in (
            (mode, start),
            (f"shared {mode}", {count: place / f"{mode}-{count}-shared" for count in "123"}),
        ):
            found += [
                Scenario(f"{name} deploy", places["1"], "deploy", two, three),
                Scenario(f"{name} deploy again", places["2"], "deploy", one, three),
                Scenario(f"{name} rollback", places["2"], "rollback", "lab", three),
                Scenario(f"{name} prune", places["3"], "prune", "", one),
            ]
    found.append(Scenario("loaders", place / "overlay-1", "deploy-replacing-loaders", two, three))
    following = str(versions["overlay"]["1"])
    old, over = unpack_release("0.1", place) / "store", place / "over"
    found.append(Scenario("storage", old, "storage", "", following))
    subprocess.run(["cp", "-a", old, over], check=True)
    with private_mounts():
        run_action("storage", "", over)
    found.append(Scenario("end of the old exports", over, "storage", "end", following))
    found.append(Scenario("refresh", _with_new_kernel(place), "refresh", "lab", str(versions["rw"]["3"])))
    return found


def _with_new_kernel(place: Path) -> Path:
    """A store whose read-write root got the kernel and initramfs of the same release, but other bytes."""
    store = place / "refresh"
    shutil.copytree(place / "rw-1", store, symlinks=True)
    version = active(store)
    root, served = store / "writable/lab" / version / "root", store / "boot/lab" / version
    release = next((root / "usr/lib/modules").iterdir()).name
    (root / "boot").mkdir(exist_ok=True)
    (root / f"boot/vmlinuz-{release}").write_bytes((served / "vmlinuz").read_bytes() + b"newer")
    shutil.copyfile(served / "initramfs.img", root / f"boot/initrd.img-{release}")
    return store
