"""Installed trees that are kept: what is taken is what was kept, or nothing is; the oldest go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from builder.archive.writer import scan_tree
from builder.cache import TreeCache, key_of
from builder.errors import AuditError
from builder.model.artifacts.manifest import INDEX, ROOTFS
from tests.integration.builds.test_sandbox import small_tree
from tests.require import needs_root
from tests.scratch import new_place
from tests.versions import EPOCH

pytestmark = [needs_root, pytest.mark.root]
KEYS = [key_of(number) for number in range(3)]


def silent(path: str) -> None:
    """Nobody looks."""


@pytest.fixture
def place() -> Path:
    path = new_place()
    path.chmod(0o755)
    return path


def kept(place: Path, *keys: str, limit: int = 1 << 30) -> TreeCache:
    cache = TreeCache(place, print, limit)
    for age, key in enumerate(keys):
        cache.keep(key, small_tree(), EPOCH, silent)
        os.utime(place / "trees" / key, (EPOCH + age, EPOCH + age))
    return cache


def test_what_is_taken_is_what_was_kept(place: Path) -> None:
    cache = kept(place, KEYS[0])
    assert cache.take(KEYS[0], place / "tree", silent)
    records = [[member.record for member in scan_tree(tree, EPOCH)] for tree in (place / "tree", small_tree())]
    assert records[0] == records[1]
    assert not cache.take(KEYS[1], place / "other", silent)
    assert not (place / "other").exists()


def test_another_build_that_kept_the_same_meanwhile(place: Path) -> None:
    cache = kept(place, KEYS[0], KEYS[0])
    assert cache.take(KEYS[0], place / "tree", silent)
    assert [path.name for path in (place / "trees").iterdir() if path.is_dir()] == KEYS[:1]


@pytest.mark.parametrize("artifact", [ROOTFS, INDEX])
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_a_damaged_entry_is_none(artifact: str, damage: str, place: Path) -> None:
    cache = kept(place, KEYS[0])
    path = place / "trees" / KEYS[0] / artifact
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        half = len(content) // 2
        path.write_bytes(
            content[:half] + (b"" if damage == "cut" else bytes([content[half] ^ 1]) + content[half + 1 :])
        )
    assert not cache.take(KEYS[0], place / "tree", silent)
    assert not (place / "tree").exists()
    assert not (place / "trees" / KEYS[0]).exists()


def test_what_others_could_have_written_is_not_taken(place: Path) -> None:
    cache = kept(place, KEYS[0])
    for path in (place, place / "trees", place / "trees" / KEYS[0]):
        path.chmod(0o777)
        assert not cache.take(KEYS[0], place / "tree", silent)
        path.chmod(0o755)
    assert cache.take(KEYS[0], place / "tree", silent)


def test_where_others_may_write_nothing_is_kept(place: Path) -> None:
    place.chmod(0o777)
    TreeCache(place, print).keep(KEYS[0], small_tree(), EPOCH, silent)
    assert list((place / "trees").iterdir()) == []


def test_the_longest_unused_go(place: Path) -> None:
    kept(place, KEYS[0], KEYS[1])
    size = sum(path.stat().st_size for path in (place / "trees" / KEYS[0]).iterdir())
    cache = TreeCache(place, print, 2 * size)
    assert cache.take(KEYS[0], place / "tree", silent)  # used last
    cache.keep(KEYS[2], small_tree(), EPOCH, silent)
    left = {path.name for path in (place / "trees").iterdir() if path.is_dir()}
    assert left == {KEYS[0], KEYS[2]}


def test_a_tree_that_no_image_can_be_made_of_is_not_kept(place: Path) -> None:
    (place / "tree").mkdir()
    os.mkfifo(place / "tree/pipe")
    with pytest.raises(AuditError, match="pipe"):
        TreeCache(place, print).keep(KEYS[0], place / "tree", EPOCH, silent)
    assert [path for path in (place / "trees").iterdir() if path.is_dir()] == []
