"""A client that exchanges a directory for a link while a command works, at any call or all the time.

What the link leads to lies outside of the store, looks like what was there, and is watched by inotify(7): not only
what is changed there is seen, but also what is opened.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from builder.deploy import adopt_kernel, prune, rollback
from builder.errors import DisklessError
from builder.store.inspection.status import read_status
from builder.store.inspection.verification import verify
from builder.store.layout import find_store
from builder.store.pruning import PruneOptions
from builder.system.guarded.held import HeldDirectory
from builder.system.guarded.removal import remove_tree
from tests.scratch import new_place, scratch
from tests.stores import deployed, quiet, snapshot, version

_RENAME_EXCHANGE, _AT_FDCWD = 2, -100  # renameat2(2)
# open, access, modify, attrib, close_write, moved_from, moved_to, create, delete, delete_self, move_self
_EVENTS = 0x20 | 0x1 | 0x2 | 0x4 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800
_IN_NONBLOCK = 0o4000
_libc = ctypes.CDLL(None, use_errno=True)
LEVELS = {"image": 0, "version": 1, "root": 2}
# who is attacked: a read-write image with two versions; the other ones are a shared root and another read-write one
DESK, LAB, OTHER = "desk", "lab", "other"


def exchange(one: Path, other: Path) -> None:
    """The two names change places, at once."""
    names = os.fsencode(one), os.fsencode(other)
    if _libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(one))


class Watched:
    """A tree that nobody is to touch or to read."""

    def __init__(self, top: Path) -> None:
        self._before = snapshot(top)
        self._top = top
        self._handle = _libc.inotify_init1(_IN_NONBLOCK)
        self._names = {}
        for directory, _, _ in os.walk(top):
            number = _libc.inotify_add_watch(self._handle, os.fsencode(directory), _EVENTS)
            assert number > 0
            self._names[number] = directory
        self._events()  # of looking at it

    def touched(self) -> list[str]:
        """What happened there since, and what is different; the watch ends."""
        found = self._events()
        os.close(self._handle)
        now = snapshot(self._top)
        return found + [path for path in {*now, *self._before} if now.get(path) != self._before.get(path)]

    def _events(self) -> list[str]:
        found: list[str] = []
        while True:
            try:
                data = os.read(self._handle, 1 << 16)
            except BlockingIOError:
                return found
            while data:
                number, mask, _, length = struct.unpack_from("iIII", data)
                name = data[16 : 16 + length].rstrip(b"\0")
                found.append(f"{mask:#x} {self._names.get(number)}/{os.fsdecode(name)}")
                data = data[16 + length :]


@dataclass(frozen=True)
class Arena:
    """A store, the directory that is attacked, a link beside it, and what that leads to."""

    place: Path
    target: Path
    link: Path
    outside: Path

    def swap(self) -> None:
        """Once more; nothing where a command has taken one of the two away."""
        with contextlib.suppress(OSError):
            exchange(self.target, self.link)

    def restore(self) -> None:
        """The directory is in its place again, if it was there."""
        if self.target.is_symlink():
            self.swap()


def make_arena(level: str) -> Arena:
    """A new one, with leftovers of an interrupted command everywhere, inside and outside."""
    top = new_place()
    place, outside = top / "store", top / "outside"
    subprocess.run(["cp", "-a", _template(), place], check=True)
    target = place / "writable" / DESK
    for name in (version("1", DESK, "rw").name, "root")[: LEVELS[level]]:
        target /= name
    shutil.copytree(target, outside, symlinks=True)
    for directory in (outside, *(path for path in outside.iterdir() if path.is_dir() and not path.is_symlink())):
        (directory / ".tmp-precious").mkdir()
        (directory / ".tmp-precious/file").write_bytes(b"nobody's but ours")
    link = target.with_name("zz-link")
    link.symlink_to(outside)
    return Arena(place, target, link, outside)


def _template() -> Path:
    """Made once, then copied."""
    if not _made:
        place = Path(tempfile.mkdtemp(dir=scratch())) / "store"
        deployed(
            place, version("1", OTHER, "rw"), version("1", DESK, "rw"), version("2", DESK, "rw"), version("1", LAB)
        )
        for name in ("1", "2"):
            root = place / "writable" / DESK / version(name, DESK, "rw").name / "root"
            served = place / "boot" / DESK / version(name, DESK, "rw").name
            release = next((root / "usr/lib/modules").iterdir()).name
            (root / "boot").mkdir()
            (root / f"boot/vmlinuz-{release}").write_bytes((served / "vmlinuz").read_bytes() + b"newer")
            shutil.copyfile(served / "initramfs.img", root / f"boot/initrd.img-{release}")
        (place / "writable" / DESK / ".tmp-left/root").mkdir(parents=True)
        (place / "writable/.tmp-trash-left").mkdir()
        _made.append(place)
    return _made[0]


_made: list[Path] = []


@contextlib.contextmanager
def without_waiting() -> Iterator[None]:
    """Nothing is synced: no power is cut here, and a disk is what would be waited for most."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        patch.setattr(HeldDirectory, "sync_filesystem", lambda self: None)
        yield


def _deploy(name: str, image: str, mode: str) -> Callable[[Path], object]:
    return lambda place: deployed(place, version(name, image, mode))


# command -> whether it is about another image than the one that is attacked, and must therefore succeed
COMMANDS: dict[str, tuple[bool, Callable[[Path], object]]] = {
    "deploy": (False, _deploy("3", DESK, "rw")),
    "deploy again": (False, _deploy("1", DESK, "rw")),
    "rollback": (False, lambda place: rollback(place, DESK, None, quiet())),
    "adopt-kernel": (False, lambda place: adopt_kernel(place, DESK, None, quiet())),
    "prune": (False, lambda place: prune(place, PruneOptions(1, 0, force=True), quiet())),
    "verify": (True, lambda place: verify(find_store(place), deep=True)),
    "status": (True, lambda place: read_status(find_store(place), None)),
    "deploy a shared root": (True, _deploy("2", LAB, "overlay")),
    "deploy another image": (True, _deploy("2", OTHER, "rw")),
}
Site = tuple[str, str, int]


class _Calls:
    """Counts the system calls that Python makes by functions of `os`, and openat2(2); acts before chosen ones."""

    def __init__(self, act: Callable[[int, Site], None]) -> None:
        self._act = act
        self._count = 0
        self._busy = False

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if self._busy:
            return
        if event == "c_call" and getattr(argument, "__module__", None) == "posix":
            site = (argument.__name__, frame.f_code.co_filename, frame.f_lineno)
        elif event == "call" and frame.f_code.co_name == "openat2" and frame.f_back is not None:
            site = ("openat2", frame.f_back.f_code.co_filename, frame.f_back.f_lineno)
        else:
            return
        self._busy = True
        self._act(self._count, site)
        self._count += 1
        self._busy = False


def record_sites(command: str, level: str) -> list[int]:
    """The numbers of the calls of an undisturbed run that stand for all: the first and the last of each place."""
    arena, seen = make_arena(level), list[Site]()
    _run(command, arena, lambda number, site: seen.append(site))
    remove_tree(arena.place.parent)
    first = {site: number for number, site in reversed(list(enumerate(seen)))}
    last = {site: number for number, site in enumerate(seen)}
    return sorted({*first.values(), *last.values()})


def disturbed_at(command: str, level: str, number: int, *, stays: bool) -> list[str]:
    """Exchanges before the call `number`, and back before the next one unless it `stays`; what went wrong."""
    arena = make_arena(level)
    watched = Watched(arena.outside)

    def act(count: int, _: Site) -> None:
        if count == number or (count == number + 1 and not stays):
            arena.swap()

    error = _run(command, arena, act)
    wrong = [f"{command}: {error!r}"] if COMMANDS[command][0] and error is not None else []
    if error is not None and not isinstance(error, DisklessError):
        wrong.append(f"{command}: {error!r}")
    wrong += watched.touched()
    arena.restore()
    wrong += goes_on(arena.place)
    remove_tree(arena.place.parent)
    return [f"{command}, {level}, call {number}{' and on' if stays else ''}: {what}" for what in wrong]


def _run(command: str, arena: Arena, act: Callable[[int, Site], None]) -> Exception | None:
    before = sys.getprofile()
    sys.setprofile(_Calls(act))
    try:
        COMMANDS[command][1](arena.place)
    except Exception as error:
        return error
    finally:
        sys.setprofile(before)
    return None


def goes_on(place: Path) -> list[str]:
    """What does not work of the images that nobody attacked."""
    try:
        deployed(place, version("3", LAB), version("3", OTHER, "rw"))
        rollback(place, LAB, None, quiet())
        _prune_others(place)
    except Exception as error:
        return [f"afterwards: {error!r}"]
    found = verify(find_store(place), deep=True)
    wrong = [f"afterwards: {one}" for one in found if one.where.startswith((f"{LAB} ", f"{OTHER} "))]
    kept = len([path for path in (place / "writable" / OTHER).iterdir() if path.name.startswith("2026")])
    return wrong if kept <= 2 else [*wrong, f"afterwards: prune left {kept} versions of {OTHER}"]


def _prune_others(place: Path) -> None:
    """What is left of the image that is attacked may be an error, when all others are pruned."""
    try:
        prune(place, PruneOptions(2, 0, force=True), quiet())
    except DisklessError as error:
        if any(f"{name} 20" in error.message for name in (LAB, OTHER)) or DESK not in error.message:
            raise


_RACER = """
import random, sys, time
from pathlib import Path
from tests.races import exchange
one, other, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
chance = random.Random(seed)
print("ready", flush=True)
while True:
    for longest in (0.015, 0.025):
        try:
            exchange(one, other)
        except OSError:
            pass
        time.sleep(chance.uniform(0, longest))
"""


@contextlib.contextmanager
def racing(arena: Arena, seed: int) -> Iterator[None]:
    """A process of its own exchanges the two for as long as this lasts."""
    command = [sys.executable, "-c", _RACER, str(arena.target), str(arena.link), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="ascii") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield
        finally:
            process.kill()


def chosen_cases(seed: int) -> Iterator[tuple[str, str, int, bool]]:
    """Cases for `disturbed_at` in the order of a seed, without an end that anybody would reach."""
    chance = random.Random(seed)
    sites: dict[tuple[str, str], list[int]] = {}
    while True:
        key = chance.choice(list(COMMANDS)), chance.choice(list(LEVELS))
        if key not in sites:
            sites[key] = record_sites(*key)
        yield (*key, chance.choice(sites[key]), chance.random() < 0.5)
