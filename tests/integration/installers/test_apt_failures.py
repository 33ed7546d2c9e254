"""What this host's apt refuses, in whatever words, is explained by what can be seen at the mirror."""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.debian_repository import make_deb, make_flat, make_suite, sign_release
from tests.images import run_diskless, write_recipe
from tests.mirror import BREAKS, alter_byte, cut, web_server
from tests.pacman_distribution.repository import Key, make_key
from tests.require import needs_root, needs_tool
from tests.scratch import scratch
from tests.servers import free_port

pytestmark = [needs_root, needs_tool("apt-get", "mmdebstrap", "gpg", "dpkg-deb"), pytest.mark.root]
KERNEL = ["linux-image-1", "initramfs-tools", "systemd-sysv"]
LOADERS = ["pxelinux", "syslinux-common"]
Broken = Callable[[Path], None]


@functools.cache
def archive_key() -> Key:
    return make_key(scratch() / "archive-key", "archive")


@functools.cache
def _debs() -> list[Path]:
    directory = scratch() / "apt-archive"
    directory.mkdir()
    more = {
        "mta-one": "Provides: mail-agent\n",
        "mta-two": "Provides: mail-agent\n",
        "needy": "Depends: no-such-library (>= 2)\n",
        "enemy": "Conflicts: friend\n",
    }
    plain = [make_deb(directory, name) for name in ("apt", *KERNEL, *LOADERS, "friend", "hello")]
    return [*plain, *(make_deb(directory, name, fields=fields) for name, fields in more.items())]


def make_archive(directory: Path, **dates: int) -> Path:
    """A whole distribution of nothing but names, signed."""
    make_suite(directory, "bookworm", _debs(), archive_key(), **dates)
    return directory


def fails(directory: Path, status: int, *words: str, packages: tuple[str, ...] = (), **changes: Any) -> str:
    """Builds from it, expects these words in the message, and returns everything that was printed."""
    ring = directory / "archive.gpg"
    ring.write_bytes(archive_key()._gpg("--export", archive_key().fingerprint))
    lists = {"updates": "false", "security_mirrors": [], "keyring": str(ring), "suite": "bookworm"}
    distribution = {"name": "debian", **lists, **changes}
    recipe = write_recipe(directory, distribution=distribution, packages=[*KERNEL, *packages])
    result = run_diskless("build", recipe, "--output", directory / "output", "--cache", directory / "cache")
    assert result.returncode == status, result.stderr
    assert "Traceback" not in result.stderr
    message = result.stderr.partition("error: ")[2]
    for word in words:
        assert word in message, result.stderr
    return result.stderr


def _package(archive: Path) -> Path:
    (deb,) = archive.glob("pool/hello_*.deb")
    return deb


@pytest.mark.parametrize("by_web", [True, False], ids=["http", "file"])
@pytest.mark.parametrize("breaks", BREAKS)
def test_a_package_that_is_not_what_the_index_says(breaks: Broken, by_web: bool, tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "archive")
    breaks(_package(archive))
    with web_server(archive) as url:
        mirror = url if by_web else f"file://{archive}"
        words = (_package(archive).name, "is not what its repository's index says")
        fails(tmp_path, 5, *words, packages=("hello",), mirrors=[mirror])


def test_a_package_that_no_mirror_has_whole(tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "archive")
    cut(_package(archive))
    with web_server(archive) as url:
        mirrors = [f"http://127.0.0.2:{free_port()}", url]
        fails(tmp_path, 5, url, "is not what its repository's index says", packages=("hello",), mirrors=mirrors)


def test_a_package_that_is_not_there(tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "archive")
    with web_server(archive, hello_=404) as url:
        fails(tmp_path, 4, "hello_1.0_all.deb could not be fetched", "404", packages=("hello",), mirrors=[url])


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "wants a login"), (403, "does not allow it"), (404, "updates: false"), (503, "refuses (503")],
)
def test_what_a_mirror_answers_is_said(status: int, words: str, tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "archive")
    with web_server(archive, Release=status) as url:
        printed = fails(tmp_path, 4, url, str(status), words, mirrors=[url])
    assert "reachable" not in printed


def test_a_mirror_that_does_not_answer(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/debian"
    fails(tmp_path, 4, url, "127.0.0.1 does not take connections", "distribution.mirrors", mirrors=[url])
    words = ("mirror.invalid has no address", "name servers")
    fails(tmp_path, 4, *words, mirrors=["http://mirror.invalid/debian"])


def test_a_proxy_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("http_proxy", f"http://user:secret@127.0.0.1:{port}")
    monkeypatch.setenv("no_proxy", "")
    message = fails(tmp_path, 4, f"the proxy 127.0.0.1:{port} does not take", mirrors=["http://mirror.invalid/debian"])
    assert "secret" not in message.partition("error: ")[2]


def test_a_proxy_that_wants_a_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with web_server(tmp_path, Release=407) as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.setenv("no_proxy", "")
        fails(tmp_path, 4, "proxy that wants a login", "407", mirrors=["http://mirror.invalid/debian"])


def not_signed(archive: Path) -> None:
    (archive / "dists/bookworm/InRelease").unlink()


def signed_by_another(archive: Path) -> None:
    sign_release(archive / "dists/bookworm", make_key(scratch() / f"stranger-{archive.parent.name}", "stranger"))


def signed_text_altered(archive: Path) -> None:
    path = archive / "dists/bookworm/InRelease"
    path.write_text(path.read_text("utf-8").replace("Origin: Tests", "Origin: Tasts"), "utf-8")


@pytest.mark.parametrize("breaks", [not_signed, signed_by_another, signed_text_altered])
def test_an_index_whose_signature_is_refused(breaks: Broken, tmp_path: Path) -> None:
    breaks(make_archive(tmp_path / "archive"))
    fails(tmp_path, 4, "their signature is refused", "archive.gpg", mirrors=[f"file://{tmp_path}/archive"])


@pytest.mark.parametrize("name", ["archive.gpg", "archive.asc", "archive"])
@pytest.mark.parametrize("armoured", [True, False])
def test_a_keyring_is_what_its_bytes_are(name: str, armoured: bool, tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "archive")
    alter_byte(_package(archive))  # the build comes as far as the packages
    ring = tmp_path / "keys" / name
    ring.parent.mkdir()
    options = ["--armor"] if armoured else []
    ring.write_bytes(archive_key()._gpg(*options, "--export", archive_key().fingerprint))
    words = ("is not what its repository's index says",)
    fails(tmp_path, 5, *words, packages=("hello",), mirrors=[f"file://{archive}"], keyring=str(ring))


def test_an_index_that_was_altered(tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "archive")
    for path in (archive / "dists/bookworm/main/binary-amd64").iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    fails(tmp_path, 5, "Packages", "is not what its Release file says", mirrors=[f"file://{archive}"])


def test_a_page_instead_of_an_index(tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "archive")
    (archive / "dists/bookworm/InRelease").write_text("<html>It works!</html>", "ascii")
    fails(tmp_path, 4, "not a Release file, but begins with '<html>", mirrors=[f"file://{archive}"])


@pytest.mark.parametrize(("days", "words"), [(-30, "expired on"), (30, "not valid before")])
def test_dates(days: int, words: str, tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "archive", date=int(time.time()) + days * 86400)
    fails(tmp_path, 4, words, "see `date`", mirrors=[f"file://{archive}"])


def test_what_apt_says_of_packages_is_shown(tmp_path: Path) -> None:
    mirrors = [f"file://{make_archive(tmp_path / 'archive')}"]
    words = ("mail-agent is provided by mta-one, mta-two",)
    printed = fails(tmp_path, 2, *words, packages=("mail-agent",), mirrors=mirrors)
    assert "did you mean" not in printed
    fails(tmp_path, 2, "no such package", "did you mean hello", packages=("helo",), mirrors=mirrors)
    printed = fails(tmp_path, 4, "cannot be installed together", packages=("needy",), mirrors=mirrors)
    assert "no-such-library (>= 2) but it is not installable" in printed
    printed = fails(tmp_path, 4, "cannot be installed together", packages=("enemy", "friend"), mirrors=mirrors)
    assert "Conflicts: friend" in printed


def test_apts_own_words_stand_beside_every_guess(tmp_path: Path) -> None:
    mirrors = [f"file://{make_archive(tmp_path / 'archive')}"]
    printed = fails(tmp_path, 2, "did you mean hello", packages=("helo",), mirrors=mirrors)
    assert "E: Unable to locate package helo" in printed
    printed = fails(tmp_path, 2, "mail-agent is provided by", packages=("mail-agent",), mirrors=mirrors)
    assert "Package mail-agent is a virtual package provided by:" in printed
    assert "E: Package 'mail-agent' has no installation candidate" in printed
    log = (tmp_path / "output/debian-nfs/failed-build.log").read_text("utf-8")
    assert "is a virtual package provided by" in log


def test_a_version_or_suite_that_is_not_there(tmp_path: Path) -> None:
    mirrors = [f"file://{make_archive(tmp_path / 'archive')}"]
    fails(tmp_path, 4, "Version '9.9' for 'hello' was not found", packages=("hello=9.9",), mirrors=mirrors)
    words = "Release 'bookworm-backports' for 'hello' was not found"
    fails(tmp_path, 4, words, packages=("hello/bookworm-backports",), mirrors=mirrors)


@pytest.mark.parametrize(("field", "status", "words"), [("SHA256", 2, "gives no SHA256"), ("Size", 4, "no Size")])
def test_an_index_that_lacks_what_a_build_goes_by(field: str, status: int, words: str, tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "archive")
    flat = tmp_path / "flat"
    make_flat(flat, [make_deb(tmp_path, "old-one")], None)
    lines = (flat / "Packages").read_text("utf-8").splitlines()
    kept = [line for line in lines if not line.startswith(f"{field}:")]
    kept.insert(len(kept), "MD5sum: " + hashlib.md5((flat / "old-one_1.0_all.deb").read_bytes()).hexdigest())
    (flat / "Packages").write_text("\n".join(kept) + "\n", "utf-8")
    (flat / "Release").unlink()
    local = {"url": f"file://{flat}", "suite": "./", "components": [], "signatures": "never"}
    more = {"mirrors": [f"file://{archive}"], "repositories": [local]}
    fails(tmp_path, status, words, "old-one", packages=("old-one",), **more)


def test_a_package_file_that_is_none(tmp_path: Path) -> None:
    mirrors = [f"file://{make_archive(tmp_path / 'archive')}"]
    own = tmp_path / "mine.deb"
    fails(tmp_path, 2, "there is no file", "mine.deb", mirrors=mirrors, package_files=["mine.deb"])
    own.write_bytes(b"a page of HTML")
    fails(tmp_path, 2, "mine.deb is not a Debian package", mirrors=mirrors, package_files=["mine.deb"])
    own.write_bytes(make_deb(tmp_path, "broken").read_bytes()[:100])
    fails(tmp_path, 2, "mine.deb cannot be read as a Debian package", mirrors=mirrors, package_files=["mine.deb"])


def test_what_a_package_file_needs_is_looked_for(tmp_path: Path) -> None:
    mirrors = [f"file://{make_archive(tmp_path / 'archive')}"]
    make_deb(tmp_path, "mine", fields="Depends: no-such-library\n").rename(tmp_path / "it's mine.deb")
    printed = fails(tmp_path, 4, "cannot be installed together", mirrors=mirrors, package_files=["it's mine.deb"])
    assert "mine : Depends: no-such-library but it is not installable" in printed
