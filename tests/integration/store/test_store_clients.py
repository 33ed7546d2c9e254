"""What clients may make of a read-write root, which is theirs: nothing of it harms the server."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from builder.archive.unpack import read_index
from builder.deploy import adopt_kernel, prune
from builder.errors import AuditError, InputError
from builder.model.artifacts.manifest import INDEX
from builder.store.inspection.differences import compare_tree
from builder.store.inspection.verification import Severity, verify
from builder.store.layout import find_store
from builder.store.pruning import PruneOptions
from builder.system.files import open_file
from builder.system.guarded.held import HeldDirectory
from builder.system.tree import Tree
from tests.command import run_command
from tests.require import needs_root
from tests.scratch import new_place
from tests.stores import deployed, quiet, version
from tests.versions import RELEASE, kernel_image

pytestmark = [needs_root, pytest.mark.root]
DEEP = 3000  # more than Python's stack, PATH_MAX and the usual limit of open files


@pytest.fixture
def place() -> Path:
    place = new_place() / "store"
    deployed(place, version("1", mode="rw"))
    return place


def client_root(place: Path, number: str = "1") -> Path:
    return place / "writable/lab" / version(number, mode="rw").name / "root"


def make_deep(directory: Path, levels: int = DEEP) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=handle)
        below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
    os.close(handle)


def test_directories_that_are_deeper_than_any_path(place: Path) -> None:
    make_deep(client_root(place))
    replaced = deployed(place, version("2", mode="rw"))[0].replaced
    assert replaced is not None
    assert "+ /d" in replaced.differences.lines()
    assert [finding for finding in verify(find_store(place)) if finding.kind is Severity.FAULT] == []
    prune(place, PruneOptions(1, 0, force=True), quiet())
    assert [path.name for path in (place / "writable/lab").iterdir()] == [version("2", mode="rw").name]


def test_a_prune_leaves_no_mount_point_and_no_link_behind_or_beyond(place: Path) -> None:
    outside = place.parent / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    (client_root(place) / "link").symlink_to(outside)
    (client_root(place) / "etc/more").symlink_to(outside / "precious")
    deployed(place, version("2", mode="rw"))
    prune(place, PruneOptions(1, 0, force=True), quiet())
    assert not client_root(place).exists()
    assert [path.name for path in outside.iterdir()] == ["precious"]


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_directory_above_a_root_that_became_a_link_is_not_followed(place: Path, level: int) -> None:
    path = client_root(place)
    for _ in range(3 - level):
        path = path.parent
    elsewhere = place.parent / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    (elsewhere / ".tmp-somebody's").mkdir()
    if level == 1:  # where the next version would lie, too
        with pytest.raises(AuditError, match="is a link"):
            deployed(place, version("2", mode="rw"))
    with pytest.raises(AuditError, match="is a link"):
        adopt_kernel(place, "lab", None, quiet())
    deployed(place, version("1", image="other"), version("2", image="other"))
    decisions = prune(place, PruneOptions(1, 0, force=True), quiet())
    assert {decision.image for decision in decisions if decision.reason is None} == {"other"}
    assert (elsewhere / ".tmp-somebody's").is_dir()
    assert [f.where for f in verify(find_store(place)) if "is a link" in f.message] == [str(path)]


def test_names_that_no_terminal_should_see(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = client_root(place)
    (root / "\x1b]0;owned\x07").touch()
    (root / "two\nlines").touch()
    os.close(os.open(os.fsencode(root) + b"/\xff", os.O_CREAT | os.O_WRONLY))
    status, out, _ = run_command(capsys, "verify", "--to", str(place))
    assert status == 0
    assert "+ /\\x1b]0;owned\\x07\n" in out
    assert "+ /two\\nlines\n" in out
    assert "+ /\\udcff\n" in out


def test_pipes_and_devices_are_never_opened(place: Path) -> None:
    """Opening is an act: a pipe waits, a tape rewinds, a watchdog begins to count."""
    boot = client_root(place) / "boot"
    boot.mkdir()
    os.mkfifo(boot / "pipe")
    # no driver has this number: opening it is an error that would be seen
    os.mknod(boot / "device", stat.S_IFCHR | 0o600, os.makedev(511, 9999))
    tree = Tree(client_root(place))
    assert (tree.read("/boot/pipe"), tree.read("/boot/device")) == (None, None)
    handle = os.open(boot, os.O_RDONLY | os.O_DIRECTORY)
    for name in ("pipe", "device"):
        with pytest.raises(OSError, match="is not a plain file"):
            open_file(name, handle)
    os.close(handle)


def test_a_kernel_as_large_as_a_disk_is_not_read(place: Path) -> None:
    boot = client_root(place) / "boot"
    boot.mkdir()
    with (boot / "vmlinuz-huge").open("wb") as file:
        file.write(kernel_image(RELEASE))
        file.truncate(1 << 43)
    (boot / "initrd.img-huge").touch()
    with pytest.raises(InputError, match="vmlinuz-huge is larger than 1 GiB"):
        adopt_kernel(place, "lab", None, quiet())


def test_a_damaged_index_of_the_old_version_does_not_stop_the_next(place: Path) -> None:
    (place / "versions/lab" / version("1", mode="rw").name / INDEX).write_bytes(b"damaged")
    done = deployed(place, version("2", mode="rw"))[0]
    assert done.generation.active["lab"] == version("2", mode="rw").name


def test_a_file_without_an_end_is_not_read_to_it(place: Path) -> None:
    """Of another size it has another content."""
    with (client_root(place) / "etc/hostname").open("r+b") as file:
        file.truncate(1 << 43)
    (changed,) = verify(find_store(place), deep=True)
    assert any(f"~ /etc/hostname: {1 << 43} bytes, were 5" in line for line in changed.details)


def test_what_lies_where_a_version_is_to_come(place: Path) -> None:
    """It is not taken for the version's root, now or by the next command."""
    two = version("2", mode="rw")
    planted = place / "writable/lab" / two.name / "root"
    (planted / "sbin").mkdir(parents=True)
    with pytest.raises(AuditError, match="the store does not know its version"):
        deployed(place, two)
    deployed(place, version("1", image="other"))
    assert [path.name for path in (place / "versions/lab").iterdir()] == [version("1", mode="rw").name]
    shutil.rmtree(planted.parent)
    deployed(place, two)
    assert [finding for finding in verify(find_store(place)) if finding.kind is Severity.FAULT] == []


def test_what_was_staged_is_exchanged_just_before_it_gets_its_name(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the version stays, and the client's directory is not taken for it."""
    real, two = HeldDirectory.rename, version("2", mode="rw")

    def exchanging(self: HeldDirectory, name: str, target: HeldDirectory, new: str) -> None:
        if self.path == place / "writable/lab" and new == two.name:
            (self.path / name).rename(self.path / "away")
            (self.path / name / "root").mkdir(parents=True)
        real(self, name, target, new)

    monkeypatch.setattr(HeldDirectory, "rename", exchanging)
    with pytest.raises(AuditError, match="is not what was unpacked: a client exchanged it"):
        deployed(place, two)
    assert not (place / "versions/lab" / two.name).exists()
    monkeypatch.undo()
    deployed(place, version("1", image="other"))
    found = [finding for finding in verify(find_store(place)) if finding.kind is Severity.FAULT]
    assert [finding.where for finding in found] == [str(place / "writable/lab" / two.name)]  # the client's own


def test_what_cannot_be_removed_is_said_and_stops_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An administrator made a file immutable: chattr +i is a way to keep clients from changing it."""
    left = place / "writable/lab/.tmp-left"
    left.mkdir()
    (left / "resolv.conf").touch()
    subprocess.run(["chattr", "+i", left / "resolv.conf"], check=True)
    try:
        arguments = ("deploy", str(version("1", image="other")), "--to", str(place))
        status, _, errors = run_command(capsys, *arguments)
        assert status == 0, errors
        assert f"warning: {left}: cannot be removed: Operation not permitted" in errors
    finally:
        subprocess.run(["chattr", "-i", left / "resolv.conf"], check=True)
    deployed(place, version("2", image="other"))
    assert not left.exists()


def test_what_a_walk_passes_over(place: Path) -> None:
    """A directory that was removed meanwhile has nothing in it, and is no error."""
    index = read_index(place / "versions/lab" / version("1", mode="rw").name / INDEX)
    (place / "nothing").mkdir()
    with HeldDirectory.at(place / "nothing") as nothing:
        (place / "nothing").rmdir()
        assert len(compare_tree(nothing, index).removed) == len(index.files) - 1


def test_a_directory_with_hidden_things_of_others_is_no_new_store() -> None:
    place = new_place()
    (place / ".tmp-thesis").mkdir()
    with pytest.raises(InputError, match="holds something else"):
        deployed(place, version("1"))
    assert (place / ".tmp-thesis").is_dir()
