"""A lock: the same next year, from whatever has the packages, whoever signed an index since then, or nobody."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from builder.output.versions import read_manifest
from tests.debian_repository import make_deb
from tests.images import DISKLESS, ROOT, run_diskless, write_recipe
from tests.require import needs_network, needs_root, needs_tool
from tests.scratch import scratch
from tests.users import User

pytestmark = [needs_root, needs_network, needs_tool("mmdebstrap", "dpkg-deb"), pytest.mark.root, pytest.mark.network]
PACKAGES = ["systemd-sysv", "linux-image-amd64", "initramfs-tools", "udev", "dhcpcd", "nfs-common", "iproute2"]
ARTIFACTS = ("SHA256SUMS", "boot.tar.zst", "index.json.zst", "manifest.json", "rootfs.tar.zst")
# nobody answers there
GONE = {"mirrors": ["http://127.0.0.1:9/debian"], "security_mirrors": ["http://127.0.0.1:9/debian-security"]}


@functools.cache
def own_package() -> Path:
    place = scratch() / "own"
    place.mkdir()
    return make_deb(place, "mine")


def recipe(directory: Path, **distribution: Any) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    own = shutil.copy(own_package(), directory)
    given = {"name": "debian", "suite": "bookworm", "package_files": [Path(own).name], **distribution}
    return write_recipe(directory, packages=PACKAGES, distribution=given, system={"hostname": "locked"})


@functools.cache
def locked() -> Path:
    """A recipe with its lock, and a directory `kept` of the packages beside it."""
    place = scratch() / "locked"
    path = recipe(place)
    done = run_diskless("lock", path, "--keep", place / "kept", "--cache", scratch() / "cache", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["lasts"] == "kept"
    return path


@functools.cache
def built() -> Path:
    """What the recipe gives without its lock, on the day that it was locked."""
    done = run_diskless("build", locked(), "--output", scratch() / "output", "--cache", scratch() / "cache")
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def elsewhere(place: Path, **distribution: Any) -> Path:
    """The same recipe and lock in a place of their own; no key is where it says, and no mirror, in no network."""
    path = recipe(place, keyring="/nonexistent/expired.gpg", **distribution)
    shutil.copy(locked().with_suffix(".lock"), place)
    return path


def without_network(*arguments: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = ["unshare", "--net", DISKLESS, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, encoding="utf-8", check=False, cwd=ROOT, env={**os.environ, **(env or {})}
    )


@pytest.mark.full
def test_a_locked_build_without_any_network_is_the_same_version(tmp_path: Path) -> None:
    """Another cache, no mirror, no key, no index; the packages from a directory, their checksums from the lock."""
    path = elsewhere(tmp_path / "recipe")
    kept = locked().parent / "kept"
    options = ("--output", tmp_path / "output", "--cache", tmp_path / "cache", "--locked", "--packages", kept)
    done = without_network("build", path, *options)
    assert done.returncode == 0, done.stderr
    version = Path(done.stdout.strip())
    manifest, usual = read_manifest(version), read_manifest(built())
    assert manifest.root_digest == usual.root_digest
    assert version.name == built().name
    assert manifest.packages == usual.packages
    for name in ("boot.tar.zst", "index.json.zst", "rootfs.tar.zst"):
        assert (version / name).read_bytes() == (built() / name).read_bytes(), name
    log = (version / "build.log").read_text("utf-8")
    assert "--error-on=any" not in log
    assert "expired.gpg" not in log


def test_an_ordinary_user_keeps_packages_that_are_theirs() -> None:
    """In a home directory that is closed to others, where a build finds them again."""
    user = User("locks")
    place = user.home / "recipe"
    path = recipe(place)
    shutil.copy(locked().with_suffix(".lock"), place)
    subprocess.run(["chown", "-R", f"{user.number}:{user.number}", place], check=True)
    cache = ("--cache", user.home / "cache")
    # the kept ones are open to others, as a mirror is
    done = run_diskless(
        "lock", path, "--packages", locked().parent / "kept", "--keep", place / "kept", *cache, user=user
    )
    assert done.returncode == 0, done.stderr
    names = {file.name for file in (locked().parent / "kept").iterdir()}
    assert {file.name for file in (place / "kept").iterdir()} == names
    assert {file.stat().st_uid for file in (place / "kept").iterdir()} == {user.number}
    again = run_diskless("lock", path, "--packages", place / "kept", "--cache", user.home / "cache2", user=user)
    assert again.returncode == 0, again.stderr


def test_mmdebstrap_of_the_lock_does_where_the_host_has_none(tmp_path: Path) -> None:
    path = elsewhere(tmp_path / "recipe")
    script = 'mount --bind /dev/null /usr/bin/mmdebstrap; exec "$0" "$@"'
    hidden = ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-ec", script]
    command: list[str | Path] = [
        *hidden,
        DISKLESS,
        "lock",
        path,
        "--packages",
        locked().parent / "kept",
        "--cache",
        tmp_path / "cache",
    ]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert "this host has no mmdebstrap" in done.stderr
    assert "nothing changed" in done.stdout


def fails(path: Path, status: int, *words: str, options: tuple[str | Path, ...] = ()) -> str:
    place = path.parent
    done = without_network(
        "build", path, "--locked", "--output", place / "output", "--cache", place / "cache", *options
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    assert not list((place / "output/.work").glob("build-*"))
    return done.stderr


def test_a_package_that_is_nowhere_is_named_with_every_place(tmp_path: Path) -> None:
    path = elsewhere(tmp_path / "recipe", **GONE)
    kept = tmp_path / "kept"
    shutil.copytree(locked().parent / "kept", kept)
    (gone,) = kept.glob("iproute2_*.deb")
    gone.unlink()
    words = ("1 of the locked packages could not be had: iproute2_", "No such file", "deb.debian.org", "--keep DIR")
    said = fails(path, 7, *words, options=("--packages", kept))
    # where the recipe's mirrors have it today, too
    assert "http://127.0.0.1:9/debian/pool/main/i/iproute2/iproute2_" in said


def test_a_package_that_is_another_file_is_refused(tmp_path: Path) -> None:
    path = elsewhere(tmp_path / "recipe")
    kept = tmp_path / "kept"
    shutil.copytree(locked().parent / "kept", kept)
    (altered,) = kept.glob("iproute2_*.deb")
    content = altered.read_bytes()
    altered.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    fails(path, 5, "iproute2_", "it is another file than the lock says", options=("--packages", kept))


def test_a_recipe_that_asks_for_something_else_is_refused(tmp_path: Path) -> None:
    path = elsewhere(tmp_path / "recipe")
    path.write_text(path.read_text("utf-8").replace("- iproute2\n", "- iproute2\n- nano\n"), "utf-8")
    fails(path, 2, "asks for something else", "packages: +nano", "diskless lock --update")
    done = without_network("lock", path, "--cache", tmp_path / "cache")
    assert (done.returncode, "packages: +nano" in done.stderr) == (2, True), done.stderr


def test_another_epoch_is_refused(tmp_path: Path) -> None:
    path = elsewhere(tmp_path / "recipe")
    kept = ("--packages", str(locked().parent / "kept"))
    options = ("--locked", "--output", tmp_path / "output", "--cache", tmp_path / "cache", *kept)
    done = without_network("build", path, *options, env={"SOURCE_DATE_EPOCH": "1000000000"})
    assert (done.returncode, "SOURCE_DATE_EPOCH is 1000000000" in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not a lock"),
        ("{}", "schema None"),
        ('{"schema": 2}', "schema 2, this program reads 1 to 1"),
        ("[" * 100_000, "is not a lock"),
    ],
)
def test_what_is_no_lock_is_refused(text: str, words: str, tmp_path: Path) -> None:
    path = recipe(tmp_path)
    path.with_suffix(".lock").write_text(text, "utf-8")
    fails(path, 2, words, str(path.with_suffix(".lock")))


def test_without_a_lock_there_is_no_locked_build(tmp_path: Path) -> None:
    fails(recipe(tmp_path), 2, "has no lock", "diskless lock")


def test_packages_without_locked_is_no_command(tmp_path: Path) -> None:
    done = run_diskless("build", recipe(tmp_path), "--packages", tmp_path)
    assert (done.returncode, "--locked" in done.stderr) == (2, True)


def test_an_update_is_shown_before_it_is_written(tmp_path: Path) -> None:
    """A lock of older packages, by hand: the dry run changes nothing."""
    path = recipe(tmp_path / "recipe")
    file = path.with_suffix(".lock")
    old = json.loads(locked().with_suffix(".lock").read_text("utf-8"))
    (line,) = [line for line in old["packages"] if line["name"] == "iproute2"]
    version, line["version"], line["sha256"] = line["version"], "0.1-1", "0" * 64
    old["packages"] = [one for one in old["packages"] if one["name"] != "dhcpcd-base"]
    old["tools"]["apt"] = "0.9"
    file.write_text(json.dumps(old), "utf-8")
    before = file.read_bytes()
    cache = ("--cache", scratch() / "cache")
    shown = run_diskless("lock", path, "--update", "--dry-run", *cache)
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert f"  iproute2 0.1-1 -> {version}" in lines
    assert [one for one in lines if one.startswith("  + dhcpcd-base ")]
    assert [one for one in lines if one.startswith("  tool: apt 0.9 -> ")]
    assert "this lock will not last" in shown.stderr
    assert file.read_bytes() == before
    done = run_diskless("lock", path, "--update", "--json", *cache)
    result = json.loads(done.stdout)
    assert result["written"] is True
    assert result["change"]["changed"] == [{"name": "iproute2", "old": "0.1-1", "new": version}]
    assert json.loads(file.read_text("utf-8"))["lasts"] == "as long as mirrors have them"
    again = json.loads(run_diskless("lock", path, "--json", *cache).stdout)
    assert (again["written"], again["change"]["changed"]) == (False, [])
