"""What a build cannot read itself is not published."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.archive.unpack import read_index
from builder.archive.writer import write_archive, write_index
from builder.errors import AuditError
from builder.model.artifacts.index import Index
from builder.model.artifacts.manifest import BUNDLE, INDEX, MANIFEST, ROOTFS, Artifact, Manifest
from builder.output.versions import read_manifest
from builder.stages.readback import read_back, sample
from builder.system.files import sha256_of
from tests.versions import Entry, make_version, sample_tree, tree_members

EPOCH = 1767312000


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_version(tmp_path_factory.mktemp("output"))


@pytest.fixture
def copy(version: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(version, tmp_path / "artifacts"))


def test_a_version_is_read_back(copy: Path) -> None:
    read_back(copy, read_manifest(copy))


def with_artifact(directory: Path, name: str) -> Manifest:
    """The manifest as pack would write it for what lies there now."""
    manifest = read_manifest(directory)
    path = directory / name
    artifacts = {**manifest.artifacts, name: Artifact(path.stat().st_size, sha256_of(path))}
    changed = dataclasses.replace(manifest, artifacts=artifacts)
    (directory / MANIFEST).write_text(changed.to_json(), "utf-8")
    return changed


def foreign_attribute(directory: Path) -> Manifest:
    """An attribute that the index may not have: as a btrfs gave it, and a deploy refused it."""
    index = read_index(directory / INDEX)
    files = [dataclasses.replace(record, xattrs={"btrfs.compression": "7a"}) for record in index.files]
    write_index(Index(index.frames, files), directory / INDEX)
    return with_artifact(directory, INDEX)


def other_index(directory: Path) -> Manifest:
    index = read_index(directory / INDEX)
    files = [dataclasses.replace(record, uid=record.uid + 1) for record in index.files]
    write_index(Index(index.frames, files), directory / INDEX)
    return with_artifact(directory, INDEX)


def damaged_archive(directory: Path) -> Manifest:
    """Every frame is of another tree, whatever the sample is."""
    content = bytearray((directory / ROOTFS).read_bytes())
    for frame in read_index(directory / INDEX).frames:
        content[frame.offset + frame.size // 2] ^= 1
    (directory / ROOTFS).write_bytes(content)
    return with_artifact(directory, ROOTFS)


def shorter_archive(directory: Path) -> Manifest:
    path = directory / ROOTFS
    path.write_bytes(path.read_bytes()[:-1])
    return with_artifact(directory, ROOTFS)


def other_bundle(directory: Path) -> Manifest:
    (directory / BUNDLE).write_bytes(b"")
    return with_artifact(directory, BUNDLE)


def other_manifest(directory: Path) -> Manifest:
    return dataclasses.replace(read_manifest(directory), entries=7)


@pytest.mark.parametrize(
    "change", [foreign_attribute, other_index, damaged_archive, shorter_archive, other_bundle, other_manifest]
)
def test_what_cannot_be_read_back_is_refused(change: Callable[[Path], Manifest], copy: Path) -> None:
    manifest = change(copy)
    with pytest.raises(AuditError, match="cannot be read back") as caught:
        read_back(copy, manifest)
    assert "nothing was published" in str(caught.value.hint)


def test_the_sample_has_every_unusual_member(tmp_path: Path) -> None:
    tree = {**sample_tree(900), "usr/large": Entry(bytes(17 << 20))}
    index = write_archive(tree_members(tree, EPOCH), tmp_path / "archive")
    paths = {index.files[position].path for position in sample(index, "seed")}
    assert {"usr/bin/ping", "var/note", "etc/odd/" + "n" * 200, "etc/odd/größe"} <= paths
    assert "usr/large" not in paths
    assert len(paths) < 100
    assert sample(index, "seed") == sample(index, "seed") != sample(index, "another")
