"""What builds gave is remembered by what decides it, and believed only where it is there as it was."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.model.artifacts.manifest import BUNDLE, CHECKSUMS, INDEX, LOG, MANIFEST, REPORT, ROOTFS
from builder.output import built
from builder.output.built import Earlier, carry_signature, hold_results, is_damaged
from builder.output.given import SIGNATURE
from builder.output.versions import read_manifest
from builder.system.guarded.held import HeldDirectory
from tests.versions import make_version

KEY = "0" * 64


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    version = make_version(tmp_path_factory.mktemp("output"), files=3)
    for name in (LOG, REPORT):
        (version / name).write_text(name, "ascii")
    return version


@pytest.fixture
def version(first: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(first, tmp_path / "lab" / first.name))


@pytest.fixture
def results(tmp_path: Path) -> Iterator[HeldDirectory]:
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o700)
    with HeldDirectory.at(cache) as held, hold_results(held, print) as found:
        yield found


@pytest.fixture
def earlier(results: HeldDirectory, version: Path) -> Earlier:
    """An earlier build, remembered."""
    found = Earlier(results, version.parent, None)
    found.keep(KEY, read_manifest(version).version, ("careful",))
    return found


def test_what_was_kept_is_found(earlier: Earlier, version: Path) -> None:
    result = earlier.find(KEY)
    assert result is not None
    assert (result.version, result.warnings) == (version.name, ("careful",))
    assert earlier.find("1" * 64) is None


@pytest.mark.parametrize("name", [MANIFEST, ROOTFS, BUNDLE, INDEX, CHECKSUMS, LOG, REPORT])
def test_a_version_that_lacks_a_file_is_none(name: str, earlier: Earlier, version: Path) -> None:
    (version / name).unlink()
    assert earlier.find(KEY) is None


@pytest.mark.parametrize("name", [MANIFEST, ROOTFS, BUNDLE, INDEX, CHECKSUMS])
def test_a_version_with_a_file_that_was_edited_is_none(name: str, earlier: Earlier, version: Path) -> None:
    """Of the same size and the same time, so that only its bytes tell."""
    path = version / name
    times, data = path.stat(), path.read_bytes()
    path.write_bytes(data.replace(b"lab", b"bal", 1) if name == MANIFEST else bytes([data[0] ^ 1]) + data[1:])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert earlier.find(KEY) is None


def test_a_version_that_is_gone_is_none(earlier: Earlier, version: Path) -> None:
    shutil.rmtree(version)
    assert earlier.find(KEY) is None
    version.symlink_to("/")
    assert earlier.find(KEY) is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": "../../etc"}', "\0" * 100, "[" * 100_000])
def test_what_is_no_result(text: str, earlier: Earlier) -> None:
    (earlier.results.path / f"{KEY}.json").write_text(text, "ascii")
    assert earlier.find(KEY) is None


def test_old_results_go(earlier: Earlier, version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another build that writes one at the same time is in nobody's way."""
    monkeypatch.setattr(built, "_MOST", 3)
    (earlier.results.path / ".tmp-another").symlink_to("nowhere")
    for number in range(5):
        earlier.keep(str(number) * 64, read_manifest(version).version, ())
        os.utime(earlier.results.path / f"{str(number) * 64}.json", (number, number))
    assert sorted(name[0] for name in earlier.results.names()) == [".", "2", "3", "4"]


def is_seen(version: Path) -> bool:
    with HeldDirectory.at(version.parent) as image:
        return is_damaged(image, read_manifest(version))


@pytest.mark.parametrize("name", [ROOTFS, BUNDLE, INDEX, CHECKSUMS, LOG, REPORT])
def test_what_lacks_a_file_is_damaged(name: str, version: Path) -> None:
    assert not is_seen(version)
    (version / name).unlink()
    assert is_seen(version)


@pytest.mark.parametrize("name", [ROOTFS, BUNDLE, INDEX])
def test_what_was_edited_is_damaged(name: str, version: Path) -> None:
    data = (version / name).read_bytes()
    (version / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert is_seen(version)


def test_what_cannot_be_judged_is_left_alone(version: Path) -> None:
    """Of a newer release, without a manifest, or no directory at all: whoever put it there decides."""
    manifest = read_manifest(version)
    text = (version / MANIFEST).read_text("utf-8")
    with HeldDirectory.at(version.parent) as image:
        (version / MANIFEST).write_text(text.replace('"schema": 2', '"schema": 3'), "utf-8")
        assert not is_damaged(image, manifest)
        (version / MANIFEST).unlink()
        assert not is_damaged(image, manifest)
        shutil.rmtree(version)
        assert not is_damaged(image, manifest)
        version.symlink_to("/")
        assert not is_damaged(image, manifest)


def test_a_signature_stays_with_its_manifest(version: Path, tmp_path: Path) -> None:
    (version / SIGNATURE).write_text("signed", "ascii")
    new = Path(shutil.copytree(version, tmp_path / "new", ignore=lambda *names: [SIGNATURE]))
    name = read_manifest(version).version
    with HeldDirectory.at(version.parent) as image:
        carry_signature(image, name, new)
        assert (new / SIGNATURE).read_text("ascii") == "signed"
        (new / SIGNATURE).unlink()
        (new / MANIFEST).write_bytes((new / MANIFEST).read_bytes() + b"\n")
        carry_signature(image, name, new)
        assert not (new / SIGNATURE).exists()
