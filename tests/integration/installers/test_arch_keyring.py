"""The newest keyring package of a pacman repository: who vouches for it, and everything that can be wrong with it.

A build that accepts it goes on and misses its packages, which is exit status 2; nothing is installed here.
"""

from __future__ import annotations

import functools
import json
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.images import build_cache, own, processes_started_for, run_diskless, write_recipe
from tests.keyrings import MADE, KeyHome, keyring_package, ring_files
from tests.pacman_distribution.repository import index_packages
from tests.require import needs_root, needs_tool
from tests.scratch import scratch

pytestmark = [needs_root, needs_tool("pacman", "repo-add", "gpg", "vercmp"), pytest.mark.root]
ACCEPTED = 2, "no such package or group in core"


@dataclass(frozen=True)
class World:
    """Three master keys that the host trusts, a fourth that nobody does, and packagers with various certifications."""

    home: KeyHome
    masters: tuple[str, ...]
    fourth: str
    packager: str
    old: bytes  # the host's keys: of a time before the packager


@functools.cache
def world() -> World:
    home = KeyHome(Path(tempfile.mkdtemp(prefix="keys-", dir=scratch())))
    masters = tuple(home.make(f"master{number}") for number in (1, 2, 3))
    old = home.export(*masters)
    packager = home.make("packager")
    home.certify(packager, *masters)
    fourth = home.make("master4")
    home.stop()
    return World(home, masters, fourth, packager, old)


def host_ring(directory: Path, keys: bytes | None = None, revoked: Iterable[str] = ()) -> Path:
    """test.gpg on the host, with the three masters."""
    directory.mkdir(parents=True, exist_ok=True)
    trusted = dict.fromkeys(world().masters, 4)
    for name, content in ring_files("test", world().old if keys is None else keys, trusted, revoked).items():
        (directory / name).write_bytes(content)
    return directory / "test.gpg"


def offer(
    directory: Path,
    signer: str,
    *,
    keys: bytes | None = None,
    trusted: Mapping[str, int] | None = None,
    revoked: Iterable[str] = (),
    version: str = "2-1",
) -> Path:
    """The mirror's repository `core` with test-keyring, signed by `signer`; returns the package."""
    w = world()
    ring = keys if keys is not None else w.home.export(*w.masters, signer)
    files = ring_files("test", ring, trusted or dict.fromkeys(w.masters, 4), revoked)
    directory.mkdir(exist_ok=True)
    for old in directory.iterdir():
        old.unlink()
    package = keyring_package("test", version, files).write(directory)
    index_packages(directory, "core", [package], w.home.key(signer))
    return package


def build(directory: Path, keyring: dict[str, Any], **more: Any) -> subprocess.CompletedProcess[str]:
    distribution = {
        "name": "arch",
        "mirrors": [f"file://{directory}/mirror"],
        "repositories": [{"name": "core"}],
        "keyring": keyring,
        **more,
    }
    recipe = write_recipe(directory, "arch-nfs-classic", distribution=distribution)
    return run_diskless("build", recipe, "--output", directory / "output", "--cache", directory / "cache")


def by_host(directory: Path, *fingerprints: str, **ring: Any) -> dict[str, Any]:
    path = host_ring(directory / "host", **ring)
    return {"path": str(path), "newest": "true", **({"fingerprints": list(fingerprints)} if fingerprints else {})}


def says(result: subprocess.CompletedProcess[str], status: int, *words: str) -> None:
    assert result.returncode == status, result.stderr
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr, result.stderr


def kept_ring(directory: Path) -> Path:
    """The ring that a build took, in its cache."""
    (found,) = build_cache(directory / "cache").glob("packages/pacman/keyrings/newest-*/test.gpg")
    return found


def test_a_new_packager_counts_through_the_masters_that_the_host_trusts(tmp_path: Path) -> None:
    offer(tmp_path / "mirror", world().packager)
    result = build(tmp_path, by_host(tmp_path))
    says(result, *ACCEPTED, f"signed by {world().packager} (packager <", "whose key is certified by master1 <")
    assert world().packager in list_keys(kept_ring(tmp_path))
    assert processes_started_for(tmp_path) == []
    # once: the second build says the same and judges nothing
    again = build(tmp_path, by_host(tmp_path))
    says(again, *ACCEPTED, f"signed by {world().packager}")
    assert "judging" in result.stderr
    assert "judging" not in again.stderr


def list_keys(ring: Path) -> str:
    return world().home.gpg("--with-colons", "--show-keys", str(ring)).decode()


@pytest.mark.parametrize("certifiers", [0, 2])
def test_a_signer_that_too_few_masters_certify_is_refused(certifiers: int, tmp_path: Path) -> None:
    home = world().home
    signer = home.make(f"few{certifiers}")
    home.certify(signer, *world().masters[:certifiers])
    offer(tmp_path / "mirror", signer)
    words = (f"only {certifiers} of the 3 master keys", signer, "distribution.keyring.fingerprints")
    says(build(tmp_path, by_host(tmp_path)), 5, *words)


def test_a_ring_does_not_vouch_for_itself(tmp_path: Path) -> None:
    """Masters of its own, who certify its signer and are trusted by it alone, with the highest trust."""
    home = world().home
    own = [home.make(f"own{number}") for number in (1, 2, 3)]
    signer = home.make("theirs")
    home.certify(signer, *own)
    keys = home.export(*world().masters, *own, signer)
    offer(tmp_path / "mirror", signer, keys=keys, trusted=dict.fromkeys([*own, signer], 6))
    says(build(tmp_path, by_host(tmp_path)), 5, "only 0 of the 3 master keys", signer)


def test_a_signer_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    signer = world().home.make("unknown")
    offer(tmp_path / "mirror", signer, keys=world().old)
    says(build(tmp_path, by_host(tmp_path)), 5, signer, "is by a key that is not known here")


def test_a_revoked_signer_is_refused(tmp_path: Path) -> None:
    home = world().home
    signer = home.make("revoked")
    home.certify(signer, *world().masters)
    mirror = offer(tmp_path / "mirror", signer)
    home.revoke(signer)
    # the host knows, and the mirror's ring has forgotten it
    ring = by_host(tmp_path, keys=home.export(*world().masters, signer))
    says(build(tmp_path, ring), 5, signer, "is by a key that was revoked")
    assert mirror.exists()


def test_a_revocation_that_the_package_drops_stays(tmp_path: Path) -> None:
    w = world()
    victim = w.home.make("listed")
    w.home.certify(victim, *w.masters)
    offer(tmp_path / "mirror", victim)
    # in the list of revoked keys, not in the key itself
    says(build(tmp_path, by_host(tmp_path, revoked=[victim])), 5, victim, "is by a key that was revoked")
    keys = w.home.export(*w.masters, w.packager, victim)
    offer(tmp_path / "mirror", w.packager, keys=keys, trusted=dict.fromkeys([*w.masters, victim], 4))
    says(build(tmp_path, by_host(tmp_path, revoked=[victim])), *ACCEPTED)
    ring = kept_ring(tmp_path)
    assert ring.with_name("test-revoked").read_text("ascii") == f"{victim}\n"
    assert victim not in ring.with_name("test-trusted").read_text("ascii")


def test_a_revoked_master_no_longer_vouches(tmp_path: Path) -> None:
    offer(tmp_path / "mirror", world().packager)
    lost = world().masters[0]
    says(build(tmp_path, by_host(tmp_path, revoked=[lost])), 5, "only 2 of the 2 master keys")
    # neither where the new ring says so
    offer(tmp_path / "mirror", world().packager, revoked=[lost], version="3-1")
    says(build(tmp_path, by_host(tmp_path)), 5, "only 2 of the 2 master keys")


def test_a_signer_that_had_expired_when_it_signed_is_refused(tmp_path: Path) -> None:
    home = world().home
    signer = home.make("expired", at=MADE)
    home.certify(signer, *world().masters)
    home.expire(signer)
    keys = home.export(*world().masters, signer)
    # gpg does not sign with it as it is: nobody has seen that it was prolonged
    home.gpg("--passphrase", "", "--quick-set-expire", signer, "0")
    offer(tmp_path / "mirror", signer, keys=keys)
    says(build(tmp_path, by_host(tmp_path)), 5, signer, "has expired on 2020-02-01; it signed on 20")
    # what the new ring has of it is newer
    offer(tmp_path / "mirror", signer)
    says(build(tmp_path, by_host(tmp_path, keys=keys)), *ACCEPTED, f"signed by {signer}")


def test_a_master_that_has_expired_no_longer_vouches(tmp_path: Path) -> None:
    home = world().home
    masters = [home.make(f"short{number}", at=MADE) for number in (1, 2, 3)]
    signer = home.make("shortly")
    home.certify(signer, *masters)
    for master in masters[1:]:
        home.expire(master)
    keys = home.export(*masters, signer)
    ring = host_ring(tmp_path / "host", keys)
    ring.with_name("test-trusted").write_text("".join(f"{key}:4:\n" for key in masters), "ascii")
    offer(tmp_path / "mirror", signer, keys=keys)
    says(build(tmp_path, {"path": str(ring), "newest": "true"}), 5, "only 1 of the 1 master keys")


def test_a_ring_in_which_masters_have_expired_or_are_missing_can_be_used(tmp_path: Path) -> None:
    """As a host's own ring: it is old, and its other keys count."""
    home = world().home
    gone, ended = home.make("gone"), home.make("ended", at=MADE)
    home.expire(ended)
    ring = host_ring(tmp_path / "host", home.export(*world().masters, ended))
    lines = [f"{key}:4:\n" for key in (gone, ended, *world().masters)]
    ring.with_name("test-trusted").write_text("".join(lines), "ascii")
    ring.with_name("test-revoked").write_text(f"{gone}\n", "ascii")
    offer(tmp_path / "mirror", world().packager)
    says(build(tmp_path, {"path": str(ring)}), *ACCEPTED)
    says(build(tmp_path, {"path": str(ring), "newest": "true"}), *ACCEPTED, world().packager)


def test_an_altered_package_is_refused(tmp_path: Path) -> None:
    package = offer(tmp_path / "mirror", world().packager)
    signature = Path(f"{package}.sig").read_bytes()
    offer(tmp_path / "mirror", world().packager, trusted={world().packager: 6})
    Path(f"{package}.sig").write_bytes(signature)
    says(build(tmp_path, by_host(tmp_path)), 5, "does not fit what is signed")


def test_an_old_package_that_is_replayed_is_refused(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    offer(mirror, world().packager, version="1-1")
    says(build(tmp_path, by_host(tmp_path)), *ACCEPTED)
    offer(mirror, world().packager, version="10-1")
    says(build(tmp_path, by_host(tmp_path)), *ACCEPTED)
    offer(mirror, world().packager, version="9-1")
    result = build(tmp_path, by_host(tmp_path))
    seen = build_cache(tmp_path / "cache") / "packages/keyrings/seen.json"
    says(result, 5, "test-keyring 9-1 is older than 10-1", "replays", str(seen))
    assert set(json.loads(seen.read_text("utf-8")).values()) == {"10-1"}


def test_a_package_that_is_refused_is_not_remembered(tmp_path: Path) -> None:
    signer = world().home.make("pusher")
    offer(tmp_path / "mirror", signer, version="99-1")
    says(build(tmp_path, by_host(tmp_path)), 5, signer)
    offer(tmp_path / "mirror", world().packager, version="2-1")
    says(build(tmp_path, by_host(tmp_path)), *ACCEPTED)


def test_a_memory_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    offer(tmp_path / "mirror", world().packager)
    seen = build_cache(tmp_path / "cache") / "packages/keyrings/seen.json"
    seen.parent.mkdir(parents=True)
    seen.write_text("[]", "ascii")
    own(seen.parents[1])
    says(build(tmp_path, by_host(tmp_path)), 3, f"{seen} cannot be read", "remove it")


@pytest.mark.parametrize(
    ("certifiers", "trusted"), [((0, 1, 2), True), ((0, 1), False), ((), False)], ids=["enough", "too-few", "none"]
)
def test_a_new_master_counts_through_the_old_ones(certifiers: tuple[int, ...], trusted: bool, tmp_path: Path) -> None:
    w = world()
    new = w.home.make(f"new{len(certifiers)}")
    w.home.certify(new, *(w.masters[number] for number in certifiers))
    if not trusted:
        # a stranger's certifications add nothing
        w.home.certify(new, w.fourth)
    keys = w.home.export(*w.masters, w.packager, new, w.fourth)
    offer(tmp_path / "mirror", w.packager, keys=keys, trusted=dict.fromkeys([*w.masters, new, w.fourth], 6))
    result = build(tmp_path, by_host(tmp_path))
    says(result, *ACCEPTED, "not trusted as master keys", "master4 <")
    lines = kept_ring(tmp_path).with_name("test-trusted").read_text("ascii").splitlines()
    # with no more trust than the old ones have
    assert sorted(lines) == sorted(f"{key}:4:" for key in (*w.masters, *([new] if trusted else [])))


def test_the_recipes_fingerprints_are_masters_too(tmp_path: Path) -> None:
    w = world()
    offer(tmp_path / "mirror", w.packager)
    spaced = [" ".join([key[:4].lower(), key[4:20], f" 0x{key[20:]}".replace("0x", "")]) for key in w.masters]
    keyring = {"newest": "true", "path": str(tmp_path / "nothing/test.gpg"), "fingerprints": spaced}
    says(build(tmp_path, keyring), 3, "nothing/test.gpg is not on this host")
    # a host whose ring knows one of them only
    ring = host_ring(tmp_path / "host")
    ring.with_name("test-trusted").write_text(f"{w.masters[0]}:4:\n", "ascii")
    keyring["path"] = str(ring)
    says(build(tmp_path, {**keyring, "fingerprints": spaced[1:2]}), 5, "only 2 of the 2 master keys")
    says(build(tmp_path, keyring), *ACCEPTED, w.packager)


def test_a_fingerprint_that_no_key_has_is_refused(tmp_path: Path) -> None:
    offer(tmp_path / "mirror", world().packager)
    says(build(tmp_path, by_host(tmp_path, "0" * 40)), 5, "0" * 40, "correct distribution.keyring.fingerprints")


def test_a_revoked_key_cannot_be_named_again(tmp_path: Path) -> None:
    w = world()
    offer(tmp_path / "mirror", w.packager)
    lost = w.masters[0]
    says(build(tmp_path, by_host(tmp_path, lost, revoked=[lost])), 5, "only 2 of the 2 master keys")


def test_a_signer_can_be_named_by_its_subkey(tmp_path: Path) -> None:
    home = world().home
    signer = home.make("alone")
    subkey = home.add_subkey(signer)
    offer(tmp_path / "mirror", signer)
    says(build(tmp_path, by_host(tmp_path)), 5, signer)
    says(build(tmp_path, by_host(tmp_path, subkey)), *ACCEPTED, f"signed by {signer}", "which is itself trusted")


def test_a_repository_without_the_package_is_named(tmp_path: Path) -> None:
    offer(tmp_path / "mirror", world().packager)
    ring = host_ring(tmp_path / "host")
    for path in ring.parent.iterdir():
        path.rename(path.with_name(path.name.replace("test", "other")))
    keyring = {"path": str(ring.with_name("other.gpg")), "newest": "true"}
    says(build(tmp_path, keyring), 2, "no signed repository has other-keyring", "distribution.keyring.path")


def test_a_package_without_signature_is_refused(tmp_path: Path) -> None:
    package = offer(tmp_path / "mirror", world().packager)
    Path(f"{package}.sig").unlink()
    says(build(tmp_path, by_host(tmp_path)), 5, "is not signed")


def test_what_is_not_what_the_database_describes_is_refused(tmp_path: Path) -> None:
    package = offer(tmp_path / "mirror", world().packager)
    content = package.read_bytes()
    package.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    says(build(tmp_path, by_host(tmp_path)), 5, "is not the file that the repository's database describes")
