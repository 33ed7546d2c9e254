"""What this host's pacman refuses, in whatever words, is explained by what can be seen at the mirror."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.images import run_diskless, write_recipe
from tests.mirror import BREAKS, web_server
from tests.pacman_distribution.package import Package
from tests.pacman_distribution.repository import Key, make_key, make_repository
from tests.require import needs_root, needs_tool
from tests.scratch import scratch
from tests.servers import free_port

pytestmark = [needs_root, needs_tool("pacman", "repo-add", "gpg", "bsdtar"), pytest.mark.root]
NAMES = ("base", "mkinitcpio", "mkinitcpio-nfs-utils", "syslinux", "hello")
Broken = Callable[[Path], None]


@functools.cache
def key() -> Key:
    return make_key(scratch() / "small-key", "small")


def make_archive(directory: Path) -> Path:
    """A whole distribution of nothing but names, signed."""
    packages = [Package(name, "1.0-1") for name in NAMES]
    packages.append(Package("linux", "1.0-1", depends=["initramfs"]))
    packages[1].provides = ["initramfs"]
    for package in packages:
        package.add_file(f"usr/share/{package.name}", package.name * 100)
    return make_repository(directory / "core", "core", packages, key()).parent


def fails(directory: Path, status: int, *words: str, phase: str = "fetch", **changes: Any) -> str:
    """Builds from it, expects these words in the message, and returns everything that was printed."""
    ring = key().write_keyring(directory / "keys", "small")
    distribution = {"name": "arch", "repositories": [{"name": "core"}], "keyring": str(ring), **changes}
    packages = ["base", "linux", "mkinitcpio", "mkinitcpio-nfs-utils", "hello"]
    recipe = write_recipe(directory, "arch-nfs-classic", distribution=distribution, packages=packages)
    result = run_diskless("build", recipe, "--output", directory / "output", "--cache", directory / "cache")
    assert result.returncode == status, result.stderr
    assert "Traceback" not in result.stderr
    message = result.stderr.rpartition("\nerror: ")[2]
    assert message.startswith(f"{phase}: "), result.stderr
    for word in words:
        assert word in message, result.stderr
    return result.stderr


def _package(archive: Path) -> Path:
    return archive / "core/hello-1.0-1-any.pkg.tar.zst"


@pytest.mark.parametrize("by_web", [True, False], ids=["http", "file"])
@pytest.mark.parametrize("breaks", BREAKS)
def test_a_package_that_is_not_what_the_database_says(breaks: Broken, by_web: bool, tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "archive")
    breaks(_package(archive))
    with web_server(archive) as url:
        mirror = url if by_web else f"file://{archive}"
        words = (_package(archive).name, "is not the file that the repository's database describes")
        fails(tmp_path, 5, *words, mirrors=[f"{mirror}/$repo"])


@pytest.mark.parametrize(
    ("status", "words"),
    [(404, "the mirror does not have it"), (401, "wants a login"), (403, "does not allow it"), (503, "refuses (503")],
)
def test_what_a_mirror_answers_to_a_package_is_said(status: int, words: str, tmp_path: Path) -> None:
    with web_server(make_archive(tmp_path / "archive"), **{"hello-": status}) as url:
        printed = fails(tmp_path, 4, f"{url}/core/hello-1.0-1-any.pkg.tar.zst", words, mirrors=[f"{url}/$repo"])
    assert "reachable" not in printed


def test_a_package_that_is_not_on_a_local_mirror(tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "archive")
    _package(archive).unlink()
    fails(tmp_path, 4, "the mirror does not have it", _package(archive).name, mirrors=[f"file://{archive}/$repo"])


def test_a_signature_that_is_not_there(tmp_path: Path) -> None:
    with web_server(make_archive(tmp_path / "archive"), **{"zst.sig": 404}) as url:
        fails(tmp_path, 5, "a package is not signed", ".pkg.tar.zst.sig", mirrors=[f"{url}/$repo"])


@pytest.mark.parametrize(
    ("status", "words"), [(401, "wants a login"), (404, "does not have it"), (503, "refuses (503")]
)
def test_what_a_mirror_answers_to_a_database_is_said(status: int, words: str, tmp_path: Path) -> None:
    with web_server(make_archive(tmp_path / "archive"), **{"core.db": status}) as url:
        printed = fails(tmp_path, 4, f"{url}/core/core.db", words, phase="resolve", mirrors=[f"{url}/$repo"])
    assert "reachable" not in printed


def test_a_mirror_that_does_not_answer(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    words = ("127.0.0.1 does not take connections", "distribution.mirrors")
    fails(tmp_path, 4, *words, phase="resolve", mirrors=[f"{url}/$repo"])
    fails(tmp_path, 4, "mirror.invalid has no address", phase="resolve", mirrors=["http://mirror.invalid/$repo"])


def test_a_proxy_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("http_proxy", f"http://user:secret@127.0.0.1:{port}")
    monkeypatch.setenv("no_proxy", "")
    words = (f"the proxy 127.0.0.1:{port} does not take",)
    printed = fails(tmp_path, 4, *words, phase="resolve", mirrors=["http://mirror.invalid/$repo"])
    assert "secret" not in printed
