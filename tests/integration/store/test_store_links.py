"""Files that versions share, those that they must never share, and the file systems that a store can be on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from builder.archive.unpack import Unpacked
from builder.errors import HostError
from builder.system.files import filesystem_of
from tests.images import ROOT
from tests.require import needs_root, needs_tool
from tests.scratch import new_place
from tests.stores import deployed, faults, version
from tests.versions import CAP_NET_RAW, Entry, make_version, some_bytes

pytestmark = [needs_root, pytest.mark.root]
PERL = Entry(some_bytes("perl", 300000), mode=0o755)


def root_of(place: Path, path: Path, image: str = "lab") -> Path:
    return place / "versions" / image / path.name / "root"


def inode(path: Path) -> int:
    return path.lstat().st_ino


@pytest.fixture
def place() -> Path:
    return new_place() / "store"


def test_unchanged_files_are_one_file_and_changed_ones_are_not(place: Path) -> None:
    one, two = version("1"), version("2")
    _, second = deployed(place, one, two)
    a, b = root_of(place, one), root_of(place, two)
    files = [path.relative_to(b) for path in b.rglob("*") if path.is_file() and not path.is_symlink()]
    shared = {str(path) for path in files if (a / path).exists() and inode(a / path) == inode(b / path)}
    assert {str(path) for path in files} - shared == {"etc/name", "etc/hostname", "usr/only-in-2/file"}
    assert second.unpacked is not None
    # perl5 and ping6 are further names
    assert second.unpacked.reused == len(shared) - 2
    assert second.unpacked.written == 3
    assert faults(place) == []


CHANGES: dict[str, Entry] = {
    "mode": Entry(PERL.content, mode=0o4755),
    "owner": Entry(PERL.content, mode=0o755, uid=1),
    "group": Entry(PERL.content, mode=0o755, gid=1),
    "time": Entry(PERL.content, mode=0o755, mtime=PERL.mtime - 1),
    "attribute": Entry(PERL.content, mode=0o755, xattrs={"user.a": "00"}),
    "capability": Entry(PERL.content, mode=0o755, xattrs={"security.capability": CAP_NET_RAW}),
    "content": Entry(PERL.content[:-1] + b"x", mode=0o755),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_file_whose_metadata_changed_is_another_file(place: Path, what: str) -> None:
    output = new_place()
    plain = {"usr/bin/perl": PERL, "usr/bin/perl5": None}
    one = make_version(output, plain, files=40)
    two = make_version(output, {**plain, "usr/bin/perl": CHANGES[what]}, files=40)
    deployed(place, one, two, one)
    assert inode(root_of(place, one) / "usr/bin/perl") != inode(root_of(place, two) / "usr/bin/perl")
    assert faults(place) == []


def touch_time(path: Path) -> None:
    os.utime(path, (1, 1))


def touch_mode(path: Path) -> None:
    path.chmod(0o700)


def touch_owner(path: Path) -> None:
    os.chown(path, 5, 5)


def touch_attribute(path: Path) -> None:
    os.setxattr(path, "user.touched", b"")


def touch_size(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def touch_kind(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def touch_parent(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))
    path.parent.symlink_to("elsewhere")


TOUCHES = (touch_time, touch_mode, touch_owner, touch_attribute, touch_size, touch_kind, touch_parent, Path.unlink)


@pytest.mark.parametrize("touch", TOUCHES, ids=lambda touch: touch.__name__)
def test_a_file_that_somebody_touched_is_not_linked(place: Path, touch: object) -> None:
    assert callable(touch)
    deployed(place, version("1"))
    touch(root_of(place, version("1")) / "usr/bin/su")
    deployed(place, version("2"))
    assert [finding.where for finding in faults(place)] == [f"lab {version('1').name}"]


def test_two_files_never_become_one(place: Path) -> None:
    """In the first version two names of one file, in the second two files with the same content."""
    output = new_place()
    one = make_version(output, {}, files=40)
    two = make_version(output, {"usr/bin/perl": PERL, "usr/bin/perl5": PERL}, files=40)
    deployed(place, one, two)
    a, b = root_of(place, one), root_of(place, two)
    assert inode(a / "usr/bin/perl") == inode(a / "usr/bin/perl5")
    assert inode(b / "usr/bin/perl") != inode(b / "usr/bin/perl5")
    assert faults(place) == []


def test_files_that_became_one_are_one(place: Path) -> None:
    output = new_place()
    one = make_version(output, {"usr/bin/perl": PERL, "usr/bin/perl5": PERL}, files=40)
    two = make_version(output, {}, files=40)
    deployed(place, one, two)
    b = root_of(place, two)
    assert inode(b / "usr/bin/perl") == inode(b / "usr/bin/perl5")
    assert faults(place) == []


def test_a_file_with_too_many_names_is_written(place: Path) -> None:
    """65000 on ext4."""
    deployed(place, version("1"))
    perl = root_of(place, version("1")) / "usr/bin/perl"
    many = new_place()
    if filesystem_of(many) != "ext4":
        pytest.skip(f"needs ext4, {many} is on {filesystem_of(many)}")
    for number in range(65000 - perl.stat().st_nlink):
        os.link(perl, many / str(number))
    deployed(place, version("2"))
    assert inode(perl) != inode(root_of(place, version("2")) / "usr/bin/perl")
    assert faults(place) == []


def test_read_write_roots_share_nothing(place: Path) -> None:
    one, two = version("1", mode="rw"), version("2", mode="rw")
    deployed(place, version("1", image="other"), one, two)
    roots = [place / "writable/lab" / path.name / "root" for path in (one, two)]
    inodes = [{inode(path) for path in root.rglob("*")} for root in roots]
    assert inodes[0] & inodes[1] == set()
    assert all(
        (path.stat().st_nlink > 1) == (path.name in ("perl", "perl5", "ping", "ping6"))
        for root in roots
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
    )


def test_a_damaged_bundle_is_not_linked_from(place: Path) -> None:
    output = new_place()
    one, two = make_version(output, {}, files=40), make_version(output, {"etc/new": b"x"}, files=40)
    deployed(place, one)
    kernel = place / "versions/lab" / one.name / "boot/vmlinuz"
    kernel.write_bytes(kernel.read_bytes() + b"x")
    deployed(place, two)
    assert {finding.where for finding in faults(place)} == {f"lab {one.name}"}


def on_filesystem(kind: str, *versions: Path, parts: str = "", size: int = 512 << 20) -> dict[str, object]:
    """Deploys to a file system of its own in a mount namespace: what tests/mounted.py prints."""
    place = new_place()
    with (place / "image").open("wb") as file:
        file.truncate(size)
    (place / "store").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", "tests.mounted", kind, parts]
    result = subprocess.run(
        [*command, place, *versions], env=environment, capture_output=True, encoding="utf-8", check=False
    )
    assert result.returncode == 0, result.stderr
    answer: dict[str, object] = json.loads(result.stdout)
    return answer


@needs_tool("mkfs.ext4", "mkfs.xfs", "mkfs.btrfs")
@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_file_systems_for_a_store(kind: str) -> None:
    found = on_filesystem(kind, version("1"), version("2"))
    assert (found["error"], found["faults"]) == (None, [])
    assert found["unpacked"][1] == vars(Unpacked(42, 3, 5015, found["unpacked"][1]["read_bytes"]))  # type: ignore[index]


@needs_tool("mkfs.xfs", "mkfs.btrfs", "filefrag")
@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_read_write_roots_share_blocks_where_they_can(kind: str) -> None:
    found = on_filesystem(kind, version("1", mode="rw"), version("2", mode="rw"))
    assert (found["error"], found["faults"]) == (None, [])
    assert found["unpacked"][1]["reused"] == 42  # type: ignore[index]
    assert found["shared"] is True


@needs_tool("mkfs.ext4")
@pytest.mark.parametrize("parts", ["boot", "versions", "writable"])
@pytest.mark.parametrize("mode", ["overlay", "rw"])
def test_parts_of_a_store_on_file_systems_of_their_own(parts: str, mode: str) -> None:
    found = on_filesystem("ext4", version("1", mode=mode), version("2", mode=mode), parts=parts)
    assert (found["error"], found["faults"]) == (None, [])


@pytest.mark.parametrize(
    ("kind", "words"), [("ramfs", "is on ramfs, which has no"), ("overlay", "is on overlay, which has no")]
)
def test_file_systems_that_lack_something_are_refused_by_name(kind: str, words: str) -> None:
    found = on_filesystem(kind, version("1"))
    assert words in str(found["error"])
    assert found["left"] == []


@needs_tool("mkfs.ext4")
def test_space_is_checked_first() -> None:
    found = on_filesystem("ext4", version("1"), size=40 << 20)
    assert "MB free, this version needs" in str(found["error"])
    assert found["left"] == []


@needs_tool("mkfs.ext4")
def test_inodes_are_checked_first() -> None:
    found = on_filesystem("ext4-few-inodes", version("1"))
    assert "free inodes, this version needs" in str(found["error"])
    assert found["left"] == []


def test_proc_is_refused() -> None:
    with pytest.raises((HostError, OSError)):
        deployed(Path("/proc/store"), version("1"))
