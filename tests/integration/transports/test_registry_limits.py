"""Registries with limits: the bounded cut is found out from a refusal, and moves few bytes all the same."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from builder.deploy import DeployOptions, deploy
from builder.errors import InputError, TransferError
from builder.transports.base import Options
from tests.integration.transports.test_transports import CHANGE, contents
from tests.places import Place
from tests.require import needs_root
from tests.scratch import new_place
from tests.servers import run_nginx
from tests.stores import SERVER, faults, quiet
from tests.strict_registry import HTML, TEXT, Refusal, StrictRegistry, oci_error
from tests.versions import make_version, some_bytes

MANY = {f"usr/share/many/{number:03}": some_bytes(str(number), 200_000) for number in range(150)}
LIMIT = 24
REFUSALS = (
    Refusal(400, oci_error("MANIFEST_INVALID", "manifest invalid", "too many layers")),
    Refusal(400, oci_error("MANIFEST_SIZE_LIMIT", "payload size limit exceeded", {"limit": 256000})),
    Refusal(400, oci_error("MANIFEST_INVALID", "manifest invalid")),
    Refusal(400, json.dumps({"message": "Invalid parameter: layers must not exceed 127"}).encode()),
    Refusal(413, b"<html><head><title>413 Request Entity Too Large</title></head></html>", HTML),
    Refusal(413, b"too large", TEXT),
    Refusal(422, b"", TEXT),
)


def layers_of(registry: StrictRegistry, tag: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(registry.manifests[registry.tags[tag]])["layers"]
    return found


def bounded(place: Place, most: int) -> Place:
    return dataclasses.replace(place, options=dataclasses.replace(place.options, layers=most))


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: f"{refusal.status} {refusal.body[:60]!r}")
def test_a_registry_with_a_limit_gets_fewer_layers(
    refusal: Refusal, registry: StrictRegistry, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builder.transports.oci.transport.BOUNDS", (LIMIT,))
    registry.most_layers, registry.too_large = LIMIT, refusal
    version = make_version(tmp_path / "here", MANY)
    place.upload(version, "stable")
    assert len(layers_of(registry, "stable")) <= LIMIT
    assert contents(place.pull("stable", tmp_path / "there").directory) == contents(version)


def test_the_next_upload_knows_the_limit(
    registry: StrictRegistry, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builder.transports.oci.transport.BOUNDS", (LIMIT,))
    registry.most_layers = LIMIT
    place.upload(make_version(tmp_path / "here", MANY), "stable")
    registry.asked.clear()
    second = make_version(tmp_path / "here", {**MANY, **CHANGE})
    uploaded = place.upload(second, "stable")
    assert registry.asked["PUT", "manifests"] == 2  # the version and the tag, and none that is refused
    assert uploaded.pushed.sent < uploaded.pushed.size / 4
    again = place.upload(second, "stable")
    assert (again.pushed.sent, again.pushed.files) == (0, 0)


def test_a_limit_of_bytes(registry: StrictRegistry, place: Place, tmp_path: Path) -> None:
    version = make_version(tmp_path / "here", MANY)
    place.upload(version, "fine")
    fine = len(registry.manifests[registry.tags["fine"]])
    registry.most_bytes = fine // 2
    with pytest.raises(TransferError, match="too many layers"):
        place.upload(make_version(tmp_path / "here", {**MANY, **CHANGE}), "stable")
    bounded(place, LIMIT).upload(version, "stable")
    assert len(registry.manifests[registry.tags["stable"]]) <= fine // 2


@pytest.mark.parametrize("most", [16, 30, 60])
def test_layers_that_were_asked_for(most: int, registry: StrictRegistry, place: Place, tmp_path: Path) -> None:
    version = make_version(tmp_path / "here", MANY, kernel=some_bytes("kernel", 40 << 20))
    bounded(place, most).upload(version, "stable")
    assert most / 2 < len(layers_of(registry, "stable")) <= most
    place.upload(version, "again")
    assert registry.tags["again"] == registry.tags["stable"]  # as it is there already
    bounded(place, 10_000).upload(version, "fine")
    assert len(layers_of(registry, "fine")) > 60
    for tag in ("stable", "fine"):
        assert contents(place.pull(tag, tmp_path / tag).directory) == contents(version)


@needs_root
@pytest.mark.root
def test_a_bounded_cut_is_deployed(place: Place, tmp_path: Path) -> None:
    first, second = make_version(tmp_path / "here", MANY), make_version(tmp_path / "here", {**MANY, **CHANGE})
    store = new_place()
    for version in (first, second):
        bounded(place, LIMIT).upload(version, "stable")
        deployed = deploy(place.open("stable"), store, DeployOptions(SERVER), quiet())
        assert deployed.manifest.version == version.name
    assert faults(store) == []
    assert deployed.unpacked is not None
    assert deployed.unpacked.written == 1


def test_what_is_refused_for_another_reason_is_not_cut(registry: StrictRegistry, place: Place, tmp_path: Path) -> None:
    place.upload(make_version(tmp_path / "here", MANY), "stable")
    registry.immutable = True
    registry.asked.clear()
    with pytest.raises(TransferError, match=r"stable' already exists and is immutable"):
        place.upload(make_version(tmp_path / "here", {**MANY, **CHANGE}), "stable")
    assert registry.asked["PUT", "manifests"] == 2


def test_layers_are_for_places_that_have_some(tmp_path: Path) -> None:
    version = make_version(tmp_path / "here", files=30)
    with run_nginx(tmp_path / "server") as server:
        for target in (str(tmp_path / "share"), server.url):
            with pytest.raises(InputError, match="--layers"):
                Place(target, str, Options(layers=100)).upload(version)
