"""Commands of a store on a file system without a free byte, or without a free inode.

Runs in a mount namespace of its own, which takes the mounts with it: python -m tests.full_disks KIND LACK PART CASE
PLACE VERSION... says as JSON what each command did.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from builder.deploy import adopt_kernel, prune, refresh_menus, rollback
from builder.errors import DisklessError
from builder.model.generation import BootName
from builder.progress.progress import Progress
from builder.store.filesystem import settle
from builder.store.inspection.status import read_status
from builder.store.layout import find_store
from builder.store.pruning import PruneOptions
from builder.store.recovery import drop_superseded
from builder.system.files import filesystem_of
from tests.stores import SERVER, active, deployed, faults, menu, named, snapshot, unreferenced
from tests.versions import kernel_image

# bytes of the disk, and what makes a file system of it; without the blocks that ext4 keeps for root
_DISKS: dict[str, tuple[int, tuple[str, ...]]] = {
    "ext4": (192 << 20, ("mkfs.ext4", "-q", "-m", "0", "-N", "2048")),
    "xfs": (320 << 20, ("mkfs.xfs", "-q", "-i", "maxpct=1")),
    "btrfs": (384 << 20, ("mkfs.btrfs", "-q")),
}
_TMPFS = "size=160M,nr_inodes=2000"
_LARGEST = 8 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)


def mount_disk(kind: str, image: Path, target: Path) -> None:
    """A new file system of a kind, in a file `image` unless it is in memory."""
    if kind == "tmpfs":
        _run("mount", "-t", "tmpfs", "-o", _TMPFS, "none", target)
        return
    size, make = _DISKS[kind]
    with image.open("xb") as file:
        file.truncate(size)
    _run(*make, image)
    _run("mount", "-o", "loop", image, target)


def mount_store(disk: Path, place: Path, part: str) -> Path:
    """An empty store of which a part is on the disk: "all", the name of a directory, or "all but" one."""
    store, word = place / "store", part.rpartition(" ")[2]
    (disk / "part").mkdir()
    target = store if part.startswith("all") else store / word
    target.mkdir(parents=True)
    _run("mount", "--bind", disk / "part", target)
    if part.startswith("all but"):
        (place / "elsewhere").mkdir()
        (store / word).mkdir()
        _run("mount", "--bind", place / "elsewhere", store / word)
    return store


def fill(top: Path, lack: str) -> None:
    """Takes every byte, or every inode, of the file system that the empty directory `top` is on."""
    top.mkdir()
    if lack == "bytes":
        _fill_bytes(top)
    _fill_inodes(top)
    if lack == "inodes":
        return
    os.sync()  # what was promised to be written needs room, too
    for _ in range(3):
        _fill_bytes(top)
        _fill_inodes(top)


def _fill_bytes(top: Path) -> None:
    size, number = _LARGEST, len(list(top.iterdir()))
    while size:
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context((top / f"bytes-{number}").open("wb", buffering=0))
                os.posix_fallocate(file.fileno(), 0, size)
                number += 1
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                size //= 2


def _fill_inodes(top: Path) -> None:
    """Empty files with long names, in directories while there is room for any; on btrfs attributes, which are fewer."""
    number, place = 0, top
    if filesystem_of(top) == "btrfs":
        _fill_attributes(top)
    try:
        while True:
            if number % 1000 == 0:
                place = top / f"inodes-{number}-{len(list(top.iterdir()))}"
                place.mkdir()
            (place / f"{number}{'n' * 200}").touch()
            number += 1
    except OSError as error:
        if error.errno not in _FULL:
            raise
    with contextlib.suppress(OSError):
        for number in range(100_000):
            (top / f"inode-{number}").touch(exist_ok=False)


def _fill_attributes(top: Path) -> None:
    with contextlib.suppress(OSError):
        path = top / f"attributes-{len(list(top.iterdir()))}"
        path.touch()
        for size in (15_000, 100):
            with contextlib.suppress(OSError):
                for number in range(100_000):
                    os.setxattr(path, f"user.{size}-{number}", os.urandom(size))


def is_full(top: Path) -> bool:
    """Whether not even a file of one byte can be made in a directory that has had room for a name."""
    try:
        (top / "x").write_bytes(b"x")
        (top / "x").unlink()
    except OSError as error:
        with contextlib.suppress(OSError):
            (top / "x").unlink()
        return error.errno in _FULL
    return False


@dataclasses.dataclass
class Case:
    """A store on a full disk; `outcomes` has what each command said, and whatever is wrong after it."""

    store: Path
    versions: Sequence[Path]
    outcomes: list[str] = dataclasses.field(default_factory=list)

    def attempt(self, what: str, command: Callable[[], object]) -> None:
        """Runs a command, and looks at what clients would boot after it."""
        try:
            command()
            said = "done"
        except DisklessError as error:
            said = f"refused: {error.message}"
        except OSError as error:
            said = f"failed: {error}"
        wrong = [str(finding) for finding in faults(self.store)]
        self.outcomes.append(f"{what}: {said}{' FAULTS ' if wrong else ''}{'; '.join(wrong)}")

    def unchanged(self, what: str, before: dict[str, tuple[object, ...]]) -> None:
        """Says what differs from a snapshot."""
        after = snapshot(self.store)
        different = sorted(path for path in {*before, *after} if before.get(path) != after.get(path))
        self.outcomes += [f"{what} changed {path}" for path in different]

    def refused_deploy(self, version: Path) -> None:
        """A deploy, which must change nothing."""
        before = snapshot(self.store)
        self.attempt("deploy", lambda: deployed(self.store, version))
        self.unchanged("the deploy", before)

    def rolled_back(self, times: int) -> None:
        """There and back, as often as it is asked for."""
        for _ in range(times):
            before = active(self.store)
            self.attempt("rollback", lambda: rollback(self.store, "lab", None, loud()))
            if active(self.store) == before:
                self.outcomes.append("the rollback changed nothing")

    def refreshed(self, argument: str) -> None:
        """What site.yml says now comes into the menus; it lies elsewhere, so that it can be edited."""
        text = f"server: {SERVER}\ncmdline: [{argument}]\n"
        (self.store / "site.yml").resolve().write_text(text, encoding="ascii")
        self.attempt("refresh", lambda: refresh_menus(self.store, loud()))
        if argument not in menu(self.store):
            self.outcomes.append("the refresh changed nothing")

    def adopted(self) -> None:
        """A kernel needs room; where there is none nothing is changed."""
        before = snapshot(self.store)
        self.attempt("adopt-kernel", lambda: adopt_kernel(self.store, "desk", None, loud()))
        if not self.outcomes[-1].endswith("done"):
            self.unchanged("adopt-kernel", before)

    def pruned(self) -> None:
        """All versions but the active ones go, and leave nothing."""
        self.attempt("prune", lambda: prune(self.store, PruneOptions(keep=1, force=True), loud()))
        versions = {(image, BootName.parse(name).version) for image, name in named(self.store)}
        if len(versions) != 2:
            self.outcomes.append(f"left in the menus: {versions}")
        self.outcomes += [f"left: {path}" for path in unreferenced(self.store)]


def loud() -> Progress:
    """Writes to nowhere."""
    return Progress(io.StringIO())


def make_store(store: Path, place: Path, versions: Sequence[Path]) -> None:
    """Three versions of one image, two of another that clients write to, and what is to be adopted and refreshed."""
    one, two, three, first, second = versions[:5]
    deployed(store, first, second, one, two, three)
    (place / "site.yml").write_text(f"server: {SERVER}\n", encoding="ascii")
    (store / "site.yml").symlink_to(place / "site.yml")
    root = next(path for path in store.rglob(f"{second.name}/root") if (path / "usr").is_dir())
    release = next((root / "usr/lib/modules").iterdir()).name
    (root / "boot").mkdir(exist_ok=True)
    (root / f"boot/vmlinuz-{release}").write_bytes(kernel_image(release) + b"newer" * 1_000_000)
    served = find_store(store).boot / "desk" / second.name / "initramfs.img"
    shutil.copyfile(served, root / f"boot/initrd.img-{release}")


def make_old(store: Path) -> None:
    """As one that was full before there was a reserve, and has nothing that it could do without."""
    shutil.rmtree(store / "boot/.reserve")
    drop_superseded(find_store(store))


def main(kind: str, lack: str, part: str, case: str, place: Path, versions: Sequence[Path]) -> list[str]:
    """`case` is a store of today, or "old": one that never had a reserve, as those of 0.1."""
    disk = place / "disk"
    disk.mkdir()
    mount_disk(kind, place / "image", disk)
    store = mount_store(disk, place, part)
    make_store(store, place, versions)
    if case == "old":
        make_old(store)
    fill(disk / "filler", lack)
    assert is_full(disk / "filler"), "the disk is not full"
    found = Case(store, versions)
    # btrfs does not tell how full its metadata are
    told = part in ("all", "boot") and (kind, lack) != ("btrfs", "inodes")
    if told and not read_status(find_store(store), None).lacks_room:
        found.outcomes.append("status says nothing of the full disk")
    found.refused_deploy(versions[5])
    if case != "old":
        found.adopted()
        found.rolled_back(5)
        found.refreshed("full-disk=1")
    found.pruned()
    shutil.rmtree(disk / "filler")
    settle(store)
    if case == "old":
        found.pruned()
    found.refreshed("room-again=1")
    if read_status(find_store(store), None).lacks_room:
        found.outcomes.append("the reserve is not whole")
    return found.outcomes


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


if __name__ == "__main__":
    kind, lack, part, case, place, *paths = sys.argv[1:]
    sys.stdout.write(json.dumps(main(kind, lack, part, case, Path(place), [Path(path) for path in paths])))
