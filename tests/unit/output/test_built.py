"""What builds gave is remembered by what decides it, and believed only where it is there as it was."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.model.artifacts.manifest import BUNDLE, CHECKSUMS, INDEX, LOG, MANIFEST, REPORT, ROOTFS
from builder.output import built
from builder.output.built import find_result, hold_results, is_damaged, keep_result, whole_version
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


def keep(results: HeldDirectory, version: Path, key: str = KEY) -> None:
    with HeldDirectory.at(version) as held:
        keep_result(results, key, held, ("careful",))


def is_whole(results: HeldDirectory, version: Path) -> bool:
    result = find_result(results, KEY)
    assert result is not None
    with HeldDirectory.at(version.parent) as image:
        return whole_version(image, result) is not None


def test_what_was_kept_is_found(results: HeldDirectory, version: Path) -> None:
    assert find_result(results, KEY) is None
    keep(results, version)
    result = find_result(results, KEY)
    assert result is not None
    assert (result.version, result.warnings) == (version.name, ("careful",))
    assert find_result(results, "1" * 64) is None
    assert is_whole(results, version)


@pytest.mark.parametrize("name", [MANIFEST, ROOTFS, BUNDLE, INDEX, CHECKSUMS, LOG, REPORT])
def test_a_version_that_lacks_a_file_is_none(name: str, results: HeldDirectory, version: Path) -> None:
    keep(results, version)
    (version / name).unlink()
    assert not is_whole(results, version)


@pytest.mark.parametrize("name", [MANIFEST, ROOTFS, BUNDLE, INDEX, CHECKSUMS])
def test_a_version_with_a_file_that_was_edited_is_none(name: str, results: HeldDirectory, version: Path) -> None:
    """Of the same size and the same time, so that only its bytes tell."""
    keep(results, version)
    path = version / name
    times, data = path.stat(), path.read_bytes()
    path.write_bytes(data.replace(b"lab", b"bal", 1) if name == MANIFEST else bytes([data[0] ^ 1]) + data[1:])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert not is_whole(results, version)


def test_a_version_that_is_gone_is_none(results: HeldDirectory, version: Path) -> None:
    keep(results, version)
    shutil.rmtree(version)
    assert not is_whole(results, version)
    version.symlink_to("/")
    assert not is_whole(results, version)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": "../../etc"}', "\0" * 100, "[" * 100_000])
def test_what_is_no_result(text: str, results: HeldDirectory, version: Path) -> None:
    keep(results, version)
    (results.path / f"{KEY}.json").write_text(text, "ascii")
    assert find_result(results, KEY) is None


def test_old_results_go(results: HeldDirectory, version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(built, "_MOST", 3)
    for number in range(5):
        keep(results, version, str(number) * 64)
        os.utime(results.path / f"{str(number) * 64}.json", (number, number))
    assert sorted(name[0] for name in results.names()) == ["2", "3", "4"]


def test_damage_is_seen(version: Path) -> None:
    name = read_manifest(version).version
    with HeldDirectory.at(version.parent) as image:
        assert not is_damaged(image, name)
        (version / ROOTFS).write_bytes(b"")
        assert is_damaged(image, name)
        shutil.rmtree(version)
        assert not is_damaged(image, name)
