"""The newest keyring package of a Debian archive: through which suite it comes, and everything that can be wrong.

A build that accepts it goes on and misses its packages, which is exit status 2; nothing is installed here.
"""

from __future__ import annotations

import functools
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.debian_repository import EPOCH, make_deb, make_suite
from tests.images import processes_started_for, run_diskless, write_recipe
from tests.keyrings import KeyHome
from tests.require import needs_root, needs_tool
from tests.scratch import scratch

pytestmark = [needs_root, needs_tool("apt-get", "dpkg-deb", "gpg", "mmdebstrap"), pytest.mark.root]
WANTED, KNOWN = "forky", "stable"
ACCEPTED = 2, f"no such package in {WANTED}: pxelinux"
PACKAGE = "debian-archive-keyring"


@dataclass(frozen=True)
class World:
    """The archive's key that the host knows, one that it does not yet, with two subkeys, and a stranger's."""

    home: KeyHome
    old: str
    new: str
    subkeys: tuple[str, str]
    stranger: str


@functools.cache
def world() -> World:
    home = KeyHome(Path(tempfile.mkdtemp(prefix="keys-", dir=scratch())))
    old, new = home.make("old"), home.make("new")
    subkeys = (home.add_subkey(new), home.add_subkey(new))
    stranger = home.make("stranger")
    home.stop()
    return World(home, old, new, subkeys, stranger)


def archive(
    directory: Path, suite: str, signer: str, keys: Iterable[str], version: str = "3", date: int = EPOCH
) -> Path:
    """dists/SUITE of the mirror, with the keyring package of these keys; returns the package."""
    work = Path(tempfile.mkdtemp(dir=directory))
    ring = world().home.export(*keys)
    files = {f"usr/share/keyrings/{PACKAGE}.pgp": ring}
    deb = make_deb(work, PACKAGE, version, files=files)
    apt = make_deb(work, "apt", "2.6")
    make_suite(directory / "mirror", suite, [deb, apt], world().home.key(signer), date=date)
    return directory / "mirror/pool" / deb.name


def host_ring(directory: Path, content: bytes | None = None) -> str:
    path = directory / f"host/{PACKAGE}.gpg"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(world().home.export(world().old) if content is None else content)
    return str(path)


def build(directory: Path, *fingerprints: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    keyring: dict[str, Any] = {"path": path or host_ring(directory), "newest": "true"}
    if fingerprints:
        keyring["fingerprints"] = list(fingerprints)
    distribution = {
        "name": "debian",
        "suite": WANTED,
        "mirrors": [f"file://{directory}/mirror"],
        "security_mirrors": [],
        "updates": "false",
        "keyring": keyring,
    }
    recipe = write_recipe(directory, distribution=distribution, packages=["apt"])
    return run_diskless("build", recipe, "--output", directory / "output", "--cache", directory / "cache")


def says(result: subprocess.CompletedProcess[str], status: int, *words: str) -> None:
    assert result.returncode == status, result.stderr
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr, result.stderr


def test_a_suite_that_the_host_knows_brings_the_key_of_one_that_it_does_not(tmp_path: Path) -> None:
    w = world()
    archive(tmp_path, WANTED, w.new, [w.new])
    archive(tmp_path, KNOWN, w.old, [w.old, w.new], "2")
    words = (f"{PACKAGE} 2 of {KNOWN}, which is signed by {w.old} (old <", "which is in ")
    says(build(tmp_path), *ACCEPTED, *words)
    assert processes_started_for(tmp_path) == []


def test_the_wanted_suite_itself_comes_first(tmp_path: Path) -> None:
    w = world()
    archive(tmp_path, WANTED, w.old, [w.old, w.new])
    archive(tmp_path, KNOWN, w.old, [w.old], "2")
    says(build(tmp_path), *ACCEPTED, f"{PACKAGE} 3 of {WANTED}, which is signed by {w.old}")


def test_a_suite_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    w = world()
    archive(tmp_path, WANTED, w.new, [w.old, w.new])
    archive(tmp_path, KNOWN, w.new, [w.old, w.new])
    words = ("nobody whom this host trusts vouches", "not known here", "distribution.keyring.fingerprints")
    says(build(tmp_path), 5, *words)


def test_a_newer_package_without_the_key_is_no_help(tmp_path: Path) -> None:
    w = world()
    archive(tmp_path, WANTED, w.new, [w.old, w.new])
    archive(tmp_path, KNOWN, w.old, [w.old], "2")
    says(build(tmp_path), 5, f"{PACKAGE} 2 of {KNOWN} has no key that signed {WANTED}")
    # then the recipe's fingerprint counts
    says(build(tmp_path, w.new), *ACCEPTED, f"signed by {w.new} (new <", "which the recipe names")


@pytest.mark.parametrize("host", [True, False])
def test_the_recipe_names_the_archives_key(host: bool, tmp_path: Path) -> None:
    w = world()
    archive(tmp_path, WANTED, w.new, [w.old, w.new])
    path = host_ring(tmp_path) if host else str(tmp_path / f"nothing/{PACKAGE}.gpg")
    typed = f"0x{w.new[:10].lower()} {w.new[10:20]}  {w.new[20:]}"
    says(build(tmp_path, typed, path=path), *ACCEPTED, f"signed by {w.new}", "which the recipe names")
    if not host:
        says(build(tmp_path, path=path), 3, "is not on this host", "fingerprint of the archive's signing key")


@pytest.mark.parametrize(
    ("signs", "named", "accepted"),
    [("sub0", "sub0", True), ("sub0", "primary", True), ("sub0", "sub1", False), ("primary", "primary", True)],
)
def test_a_subkey_stands_for_itself(signs: str, named: str, accepted: bool, tmp_path: Path) -> None:
    w = world()
    keys = {"sub0": w.subkeys[0], "sub1": w.subkeys[1], "primary": w.new}
    archive(tmp_path, WANTED, f"{keys[signs]}!", [w.old, w.new])
    result = build(tmp_path, keys[named])
    if accepted:
        says(result, *ACCEPTED, f"signed by {w.new}")
    else:
        says(result, 5, f"{WANTED} is not signed by a key that the recipe names", keys[signs])


def test_a_key_that_did_not_sign_is_refused(tmp_path: Path) -> None:
    w = world()
    archive(tmp_path, WANTED, w.stranger, [w.old, w.new, w.stranger])
    says(build(tmp_path, w.new), 5, f"{WANTED} is not signed by a key that the recipe names", w.stranger)
    says(build(tmp_path, "0" * 40), 5, f"there is no key {'0' * 40} in {PACKAGE}")


def test_a_revoked_key_is_refused_though_the_package_forgot_it(tmp_path: Path) -> None:
    home = world().home
    lost = home.make("lost")
    before = home.export(lost)
    archive(tmp_path, WANTED, lost, [world().old, lost])
    archive(tmp_path, KNOWN, world().old, [world().old, lost], "2")
    home.revoke(lost)
    path = host_ring(tmp_path, home.export(world().old, lost))
    assert home.export(lost) != before
    says(build(tmp_path, path=path), 5, lost, "is by a key that was revoked")
    says(build(tmp_path, lost, path=path), 5, lost, "is by a key that was revoked")


def test_a_suite_that_has_expired_is_passed_over_or_named(tmp_path: Path) -> None:
    """Valid-Until, which an old copy of a suite, with its old packages, cannot change."""
    w = world()
    archive(tmp_path, WANTED, w.new, [w.old, w.new])
    archive(tmp_path, "unstable", w.old, [w.old, w.new], "2", date=1577880000)
    says(build(tmp_path), 5, "nobody whom this host trusts vouches", "unstable: ", "expired")
    archive(tmp_path, KNOWN, w.old, [w.old, w.new], "2")
    says(build(tmp_path), *ACCEPTED, f"{PACKAGE} 2 of {KNOWN}")
    subprocess.run(["rm", "-rf", tmp_path / "mirror"], check=True)
    archive(tmp_path, WANTED, w.old, [w.old, w.new], "4", date=1577880000)
    says(build(tmp_path), 4, "the mirror is out of date, or this machine's clock is wrong")


def test_an_altered_package_is_refused(tmp_path: Path) -> None:
    deb = archive(tmp_path, WANTED, world().old, [world().old])
    content = bytearray(deb.read_bytes())
    content[-20] ^= 1
    deb.write_bytes(content)
    says(build(tmp_path), 5, f"{deb.name} is not what the signed index of {WANTED} says")
    deb.unlink()
    says(build(tmp_path), 4, f"{PACKAGE} of {WANTED} could not be fetched")


def test_an_old_package_that_is_replayed_is_refused(tmp_path: Path) -> None:
    w = world()
    for version, status, words in (
        ("9", *ACCEPTED),
        ("10", *ACCEPTED),
        ("9", 5, f"{PACKAGE} 9 is older than 10"),
    ):
        subprocess.run(["rm", "-rf", tmp_path / "mirror"], check=True)
        archive(tmp_path, WANTED, w.old, [w.old], version)
        says(build(tmp_path), status, words)


def test_a_mirror_that_does_not_answer_is_named(tmp_path: Path) -> None:
    archive(tmp_path, KNOWN, world().old, [world().old])
    says(build(tmp_path), 4, f"package lists of {WANTED} could not be fetched")
    (tmp_path / "mirror").rename(tmp_path / "gone")
    says(build(tmp_path), 4, f"package lists of {WANTED} could not be fetched", f"file://{tmp_path}/mirror")


def test_what_holds_no_keys_is_named(tmp_path: Path) -> None:
    archive(tmp_path, WANTED, world().old, [world().old])
    says(build(tmp_path, path=host_ring(tmp_path, b"not a key")), 2, "holds no public keys that gpg can read")


def test_an_old_ring_gets_the_hint(tmp_path: Path) -> None:
    archive(tmp_path, WANTED, world().new, [world().new])
    distribution = {
        "name": "debian",
        "suite": WANTED,
        "mirrors": [f"file://{tmp_path}/mirror"],
        "security_mirrors": [],
        "updates": "false",
        "keyring": host_ring(tmp_path),
    }
    recipe = write_recipe(tmp_path, distribution=distribution, packages=["apt"])
    result = run_diskless("build", recipe, "--output", tmp_path / "output", "--cache", tmp_path / "cache")
    says(result, 4, "distribution.keyring: {newest: true}")
