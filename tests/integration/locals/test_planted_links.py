"""Links and worse that another user planted where a command of root reads or writes: none is followed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.archive.writer import scan_tree
from builder.bootlab.console import begin_log
from builder.cache import TreeCache
from builder.errors import AuditError, HostError, InputError
from builder.model.artifacts.manifest import BUNDLE, CHECKSUMS, INDEX, MANIFEST, ROOTFS
from builder.output.given import SIGNATURE, hold_version
from builder.system.guarded.links import resolve_given
from builder.transports.base import Options
from builder.transports.kept import open_kept
from tests.images import DISKLESS, build_cache, run_diskless, write_recipe
from tests.integration.builds.test_sandbox import small_tree
from tests.require import needs_root
from tests.stores import SERVER, snapshot, version
from tests.strangers import STRANGER, open_ground
from tests.versions import EPOCH, make_version

pytestmark = [needs_root, pytest.mark.root]
SECRET = b"root:$6$secret:19000:0:99999:7:::\n"
# what is read of each
PARTS = (MANIFEST, SIGNATURE, INDEX, BUNDLE, ROOTFS, CHECKSUMS)


@pytest.fixture
def ground() -> Iterator[Path]:
    with open_ground() as place:
        (place / "secret").write_bytes(SECRET)
        (place / "secret").chmod(0o600)
        yield place


def give(ground: Path, name: str = "1") -> Path:
    """A version of somebody else's."""
    target = ground / "given" / version(name).name
    shutil.copytree(version(name), target)
    for path in (target.parent, target, *target.iterdir()):
        os.chown(path, STRANGER, STRANGER)
    return target


def plant_link(path: Path, target: str | Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(target)
    os.chown(path, STRANGER, STRANGER, follow_symlinks=False)


def plant(path: Path, what: str, ground: Path) -> None:
    path.unlink(missing_ok=True)
    if what == "link":
        plant_link(path, ground / "secret")
    elif what == "link to endless zeros":
        plant_link(path, "/dev/zero")
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "sparse file":
        with path.open("wb") as file:
            file.truncate(3 << 30)
    elif what == "directory":
        path.mkdir()
    else:
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))  # zero(4)


WHAT = ("link", "link to endless zeros", "pipe", "sparse file")
CASES = [
    *((command, part, what) for command in ("deploy", "upload") for part in PARTS for what in WHAT),
    *((command, INDEX, what) for command in ("deploy", "upload", "pull", "diff") for what in ("directory", "device")),
    *((command, part, what) for command in ("pull", "diff") for part in (INDEX, MANIFEST) for what in WHAT),
]
UNREAD = [("deploy", CHECKSUMS)]


@pytest.mark.parametrize(("command", "part", "what"), CASES)
def test_what_is_no_plain_file_in_a_version_that_is_given(command: str, part: str, what: str, ground: Path) -> None:
    given = give(ground)
    plant(given / part, what, ground)
    arguments: dict[str, tuple[str | Path, ...]] = {
        "deploy": (given, "--to", ground / "store", "--server", SERVER),
        "upload": (given, "--to", ground / "share"),
        "pull": (given, "--output", ground / "output"),
        "diff": (given, version("2")),
    }
    # in 2 GB of memory, and not waiting for a writer that never comes
    limited = ["prlimit", f"--as={2 << 30}", "timeout", "120", DISKLESS, command, *map(str, arguments[command])]
    done = subprocess.run(limited, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", check=False)
    assert "Traceback" not in done.stderr
    if (command, part) in UNREAD:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 5, done.stderr
        assert f"{part}: is not a plain file" in done.stderr or f"{part} has {3 << 30} bytes" in done.stderr
    copies = [path for top in ("store", "share", "output") for path in (ground / top).rglob("*") if path.is_file()]
    assert [path for path in copies if path.read_bytes() == SECRET] == []


def test_a_newest_version_that_leads_elsewhere(ground: Path) -> None:
    """Of the versions beside it `latest` means any, and no other."""
    make_version(ground / "output", files=40)
    private = shutil.copytree(version("1"), ground / "private" / version("1").name)
    plant_link(ground / "output/lab/latest", private)
    for arguments in (("lab",), (), (str(ground / "output/lab/latest"),), (str(ground / "output/lab"),)):
        options = ("--output", ground / "output", "--to", ground / "share")
        done = run_diskless("upload", *arguments, *options)
        assert (done.returncode, "is a link of " in done.stderr) == (2, True), done.stderr
    assert not (ground / "share").exists()
    (beside,) = (path for path in (ground / "output/lab").iterdir() if path.name.startswith("2026"))
    plant_link(ground / "output/lab/latest", beside.name)
    assert run_diskless("upload", "lab", *options).returncode == 0


def test_an_image_that_is_a_link(ground: Path) -> None:
    elsewhere = shutil.copytree(version("1").parent, ground / "elsewhere", symlinks=True)
    (ground / "output").mkdir()
    plant_link(ground / "output/lab", elsewhere)
    before = snapshot(elsewhere)
    done = run_diskless("pull", version("2"), "--output", ground / "output")
    assert (done.returncode, "is no directory, but a link" in done.stderr) == (3, True), done.stderr
    done = run_diskless("deploy", "lab", "--output", ground / "output", "--to", ground / "store", "--server", SERVER)
    assert (done.returncode, "is a link of " in done.stderr) == (2, True), done.stderr
    assert snapshot(elsewhere) == before


def test_an_image_that_another_user_made(ground: Path) -> None:
    (ground / "output/lab").mkdir(parents=True)
    os.chown(ground / "output/lab", STRANGER, STRANGER)
    done = run_diskless("pull", version("2"), "--output", ground / "output")
    assert (done.returncode, "who can put anything there" in done.stderr) == (3, True), done.stderr
    assert list((ground / "output/lab").iterdir()) == []


@pytest.mark.parametrize("name", ["failed-build.log", ".work", "lab"])
def test_a_build_that_fails_writes_through_no_link(name: str, ground: Path) -> None:
    distribution = {"name": "debian", "suite": "bookworm", "mirrors": ["http://127.0.0.1:9/debian"]}
    (ground / "recipe").mkdir()
    recipe = write_recipe(ground / "recipe", image="lab", distribution=distribution)
    victim = ground / "victim"
    image = ground / "output/lab"
    image.mkdir(parents=True)
    if name == "failed-build.log":
        victim.write_bytes(b"untouched")
        plant_link(image / name, victim)
    else:
        victim.mkdir()
        plant_link(image.with_name(name), victim)
    before = snapshot(ground, skip=("output", "cache", "recipe"))
    done = run_diskless("build", recipe, "--output", ground / "output", "--cache", ground / "cache")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert victim.read_bytes() == b"untouched" if victim.is_file() else list(victim.iterdir()) == []
    if name == "failed-build.log":
        assert not (image / name).is_symlink()
        assert f"the whole log: {image / name}" in done.stderr
    assert before.keys() >= {"victim", "secret"}


@pytest.mark.parametrize("name", ["ids", "trees", "transfers", "boot"])
def test_a_cache_with_a_link_in_it(name: str, ground: Path) -> None:
    victim, cache = ground / "victim", ground / "cache"
    victim.mkdir()
    (victim / "old").mkdir()
    os.utime(victim / "old", (0, 0))
    cache.mkdir()
    plant_link(build_cache(cache) if name == "ids" else cache / name, victim)
    recipe = write_recipe(ground, image="lab")
    if name == "ids":
        done = run_diskless("build", recipe, "--output", ground / "output", "--cache", cache)
        assert (done.returncode, "is no directory, but a link" in done.stderr) == (3, True), done.stderr
    elif name == "trees":
        with pytest.raises(HostError, match="is no directory, but a link"):
            TreeCache(cache, print).keep("0" * 64, small_tree(), EPOCH, lambda path: None)
    elif name == "transfers":
        kept = open_kept(Options(cache=cache), "versions", "abc")
        kept.write("d" * 64, b"x")
        kept.forget_old()
        assert not kept.directory.is_relative_to(cache)
    else:
        done = run_diskless("boot", version("1"), "--cache", cache)
        assert done.returncode == 3, done.stderr
    assert [path.name for path in victim.rglob("*")] == ["old"]


def test_a_kept_tree_that_leads_elsewhere(ground: Path) -> None:
    """A shell in it may write to it."""
    kept, victim = ground / "kept-1", ground / "victim"
    kept.mkdir()
    shutil.copytree(small_tree(), victim, symlinks=True)
    plant_link(kept / "inside", victim)
    shell = ("shell", kept, "--output", ground / "output", "--", "sh", "-c", "echo x > /etc/x")
    done = run_diskless(*shell)
    assert (done.returncode, "is not a version of an image" in done.stderr) == (2, True), done.stderr
    (kept / "inside").unlink()
    (kept / "inside").mkdir()
    victim.rename(kept / "inside/tree")
    os.chown(kept, STRANGER, STRANGER)
    done = run_diskless(*shell)
    assert (done.returncode, "and no build's" in done.stderr) == (2, True), done.stderr
    assert not (kept / "inside/tree/etc/x").exists()


def test_a_console_log_that_is_a_link(ground: Path) -> None:
    plant_link(ground / "log", ground / "secret")
    os.mkfifo(ground / "pipe")
    (ground / "second").hardlink_to(ground / "secret")
    for name in ("log", "pipe", "second"):
        with pytest.raises(InputError, match=str(ground / name)):
            begin_log(ground / name)
    assert (ground / "secret").read_bytes() == SECRET


def test_an_upload_writes_through_no_link(ground: Path) -> None:
    """The directory may be a web server's, whose user plants what they like."""
    share, victim = ground / "share", ground / "victim"
    victim.mkdir()
    (share / "lab").mkdir(parents=True)
    for path in (share, share / "lab"):
        os.chown(path, STRANGER, STRANGER)
    plant_link(share / "lab" / f".tmp-upload-{version('1').name}", victim)
    plant_link(share / "lab/stable", victim)
    done = run_diskless("upload", version("1"), "--to", share, "--tag", "stable")
    assert done.returncode == 0, done.stderr
    assert (share / "lab/stable").readlink() == Path(version("1").name)
    plant_link(share / "lab" / version("2").name, victim)
    done = run_diskless("upload", version("2"), "--to", share)
    assert (done.returncode, "is no directory, but a link" in done.stderr) == (3, True), done.stderr
    plant_link(share / "lab", victim)
    done = run_diskless("upload", version("1"), "--to", share)
    assert (done.returncode, "is no directory, but a link" in done.stderr) == (3, True), done.stderr
    assert list(victim.iterdir()) == []


def test_a_link_of_our_own_is_followed(ground: Path) -> None:
    """An administrator may have put output/ on another disk."""
    (ground / "disk").mkdir()
    (ground / "output").symlink_to(ground / "disk")
    done = run_diskless("pull", version("1"), "--output", ground / "output")
    assert done.returncode == 0, done.stderr
    assert (ground / "disk/lab/latest" / MANIFEST).is_file()
    (ground / "mine").symlink_to(ground / "output/lab/latest")
    assert run_diskless("diff", ground / "mine", version("2")).returncode == 0


def test_links_on_the_way(ground: Path) -> None:
    place = ground / "a/b"
    place.mkdir(parents=True)
    (ground / "ours").symlink_to("a")
    (ground / "absolute").symlink_to(place)
    plant_link(ground / "theirs", "a")
    (ground / "loop").symlink_to("loop")
    assert resolve_given(ground / "ours/b") == resolve_given(ground / "absolute") == place
    assert resolve_given(ground / "ours/../ours/b/c/d") == place / "c/d"
    with pytest.raises(InputError, match=r"theirs is a link of \S+'s, and not followed"):
        resolve_given(ground / "theirs/b")
    assert resolve_given(ground / "theirs/b", lambda target: target == "a") == place
    with pytest.raises(InputError, match="without an end"):
        resolve_given(ground / "loop")


def test_a_version_that_is_exchanged_after_it_was_found(ground: Path) -> None:
    """What was opened is what is read."""
    given = give(ground)
    held = hold_version(given)
    given.rename(ground / "away")
    plant_link(given, ground)
    with held.open(MANIFEST) as file:
        assert file.read() == (version("1") / MANIFEST).read_bytes()
    with pytest.raises(InputError):
        hold_version(given)
    plant_link(ground / "away" / MANIFEST, ground / "secret")
    with pytest.raises((AuditError, OSError), match="is not a plain file"):
        held.open(MANIFEST)


def test_members_of_a_tree_that_is_packed(tmp_path: Path) -> None:
    """A tree is ours alone; its links are packed as links."""
    (tmp_path / "link").symlink_to("/etc/shadow")
    assert [member.record.link for member in scan_tree(tmp_path, EPOCH)] == ["", "/etc/shadow"]
