"""What a store holds is read once; what comes and goes makes another inventory."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from builder.errors import AuditError, InputError
from builder.model.artifacts.manifest import MANIFEST, Manifest
from builder.model.version import Version
from builder.store.inventory import Inventory, read_inventory
from builder.store.layout import Store
from tests import samples

NAMES = ("20260101-00000001", "20260102-00000002", "20260103-00000003")
OLD, DAMAGED, NEW = map(Version, NAMES)


def manifest(version: str, image: str = "lab") -> Manifest:
    return dataclasses.replace(samples.MANIFEST, image=image, version=Version(version))


@pytest.fixture
def inventory(tmp_path: Path) -> Inventory:
    """Two images; one version of `lab` has a damaged manifest, and one that of another version."""
    store = Store(tmp_path)
    for image, version, text in (
        ("lab", NEW, manifest(NEW).to_json()),
        ("lab", DAMAGED, "{"),
        ("lab", OLD, manifest(OLD).to_json()),
        ("lab", "20260104-00000004", manifest(NEW).to_json()),
        ("desk", OLD, manifest(OLD, "desk").to_json()),
        ("lab", ".tmp-20260105-00000005", "{"),
    ):
        (store.versions / image / version).mkdir(parents=True)
        (store.versions / image / version / MANIFEST).write_text(text, encoding="utf-8")
    return read_inventory(store)


def named(inventory: Inventory) -> list[tuple[str, str]]:
    return [(manifest.image, manifest.version) for manifest in inventory.manifests]


def test_what_is_there(inventory: Inventory) -> None:
    assert named(inventory) == [("desk", OLD), ("lab", OLD), ("lab", NEW)]
    assert inventory.images == ["desk", "lab"]
    assert inventory.versions("lab") == [OLD, DAMAGED, NEW, "20260104-00000004"]
    assert inventory.versions("other") == []


def test_it_is_read_once(inventory: Inventory) -> None:
    shutil.rmtree(inventory.store.versions)
    assert inventory.get("lab", OLD) == inventory.require("lab", OLD) == manifest(OLD)


def test_a_damaged_manifest_says_what_is_wrong_to_who_needs_it(inventory: Inventory) -> None:
    assert inventory.get("lab", DAMAGED) is None
    with pytest.raises(AuditError, match=f"{DAMAGED}/{MANIFEST}: not a manifest"):
        inventory.require("lab", DAMAGED)
    assert inventory.get("desk", NEW) is None
    with pytest.raises(InputError, match=f"desk/{NEW} is not a version of an image"):
        inventory.require("desk", NEW)


def test_what_comes_is_in_its_place_and_what_goes_is_not(inventory: Inventory) -> None:
    more = inventory.plus(manifest(DAMAGED, "desk"))
    assert named(more) == [("desk", OLD), ("desk", DAMAGED), ("lab", OLD), ("lab", NEW)]
    less = more.minus({("desk", OLD), ("lab", DAMAGED)})
    assert named(less) == [("desk", DAMAGED), ("lab", OLD), ("lab", NEW)]
    assert less.versions("lab") == [OLD, NEW, "20260104-00000004"]
    assert named(inventory) == [("desk", OLD), ("lab", OLD), ("lab", NEW)]
