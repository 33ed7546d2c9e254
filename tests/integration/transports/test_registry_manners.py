"""What registries say and how: their own words for every refusal, 201 and 202, and nothing believed unseen."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from builder.errors import AuditError, DisklessError, TransferError
from builder.model.artifacts.manifest import MANIFEST, ROOTFS
from builder.transports.base import Options
from builder.transports.oci.upload import CHUNK
from builder.transports.retries import Retries
from tests.images import run_diskless
from tests.integration.transports.test_transports import CHANGE, contents
from tests.places import HASTY, Place, registry_place
from tests.require import needs_tool
from tests.servers import Server, run_registry
from tests.strict_registry import HTML, JSON, TEXT, Refusal, StrictRegistry, oci_error
from tests.versions import make_version, some_bytes

BODIES = (
    (oci_error("TAG_INVALID", "the tag is immutable"), JSON, "TAG_INVALID the tag is immutable"),
    (oci_error("DENIED", "refused", {"quota": "10 GiB"}), JSON, "10 GiB"),
    (oci_error("DENIED", "quota", "will exceed the quota of 5 GiB"), JSON, "will exceed the quota of 5 GiB"),
    (json.dumps({"message": "policy says no"}).encode(), JSON, "policy says no"),
    (json.dumps({"error": {"code": 7, "message": "policy says no"}}).encode(), JSON, "policy says no"),
    (b"<html><head><title>Policy says no</title></head><body><p>x</p></body></html>", HTML, "Policy says no"),
    (b"<html><body><h1>Policy</h1><p>says &lt;no&gt;</p></body></html>", HTML, "Policy says <no>"),
    (b"policy says\r\nno\n", TEXT, "policy says no"),
    (b"policy \x1b[2Jsays no", TEXT, "policy \\x1b[2Jsays no"),
    ("Richtlinie verbietet es für lab\n".encode("latin-1"), TEXT, "Richtlinie verbietet es f"),
)


PLACES = (("PUT", "manifests"), ("POST", "uploads"), ("PUT", "uploads"), ("GET", "blobs"), ("GET", "manifests"))
CASES = [
    *((400, body, PLACES[0]) for body in BODIES),
    *((status, BODIES[0], where) for status in (400, 403, 422, 451) for where in PLACES),
    *((status, BODIES[7], ("PUT", "manifests")) for status in (404, 409, 412)),
]


@pytest.mark.parametrize(("status", "body", "where"), CASES)
def test_a_refusal_is_said_in_the_registrys_own_words(
    status: int, body: tuple[bytes, str, str], where: tuple[str, str], registry: StrictRegistry, place: Place,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    version = make_version(tmp_path_factory.getbasetemp() / "shared", files=30)
    registry.refusals[where] = Refusal(status, body[0], body[1])
    with pytest.raises(TransferError) as error:
        place.upload(version, "stable")
    assert body[2] in error.value.message
    assert "changes what it carries" not in f"{error.value.message} {error.value.hint}"
    assert error.value.exit_code == 7
    assert len(error.value.message) < 600
    assert error.value.message.isprintable()
    assert registry.asked[where] <= Options().streams  # none is asked for the same again


def test_what_the_command_shows_of_it(registry: StrictRegistry, tmp_path: Path) -> None:
    registry.refusals["PUT", "manifests"] = Refusal(400, b"no \x1b]0;x\x07" + b"very " * 1000 + b"long", TEXT)
    version = make_version(tmp_path / "here", files=30)
    result = run_diskless("upload", version, "--to", f"oci://{registry.server.address}/lab", "--cache", tmp_path / "c")
    assert result.returncode == 7
    assert "no \\x1b]0;x\\x07very very" in result.stderr
    assert "\x1b" not in result.stderr
    assert len(result.stderr) < 2000


def test_a_digest_that_does_not_fit_is_tried_again_and_said(
    registry: StrictRegistry, place: Place, tmp_path: Path
) -> None:
    registry.refusals["PUT", "uploads"] = Refusal(400, oci_error("DIGEST_INVALID", "did not match"))
    with pytest.raises(AuditError, match="DIGEST_INVALID did not match"):
        place.upload(make_version(tmp_path / "here", files=30), "stable")


@pytest.mark.parametrize(
    "statuses",
    [
        {("PATCH", "uploads"): 201},
        {("PATCH", "uploads"): 204},
        {("PUT", "uploads"): 202},
        {("PUT", "uploads"): 204},
        {("POST", "uploads"): 201},
        {("PUT", "manifests"): 202},
        {("PUT", "manifests"): 200},
    ],
    ids=str,
)
def test_success_by_any_name(
    statuses: dict[tuple[str, str], int], registry: StrictRegistry, place: Place, tmp_path: Path
) -> None:
    registry.statuses = statuses
    version = make_version(tmp_path / "here", files=30, kernel=some_bytes("k", 1 << 20))
    big = make_version(tmp_path / "here", {"usr/lib/big": some_bytes("big", 2 * CHUNK + 5)}, files=30)
    for one in (version, big):
        place.upload(one, "stable")
        assert contents(place.pull("stable", tmp_path / one.name).directory) == contents(one)
    assert registry.asked["PATCH", "uploads"]


def test_a_manifest_that_was_taken_and_is_not_there(registry: StrictRegistry, place: Place, tmp_path: Path) -> None:
    registry.keeps_manifests = False
    with pytest.raises(DisklessError, match=r"took the manifest .* and does not have it"):
        place.upload(make_version(tmp_path / "here", files=30), "stable")


def test_blobs_that_are_gone_are_sent_again(registry: StrictRegistry, place: Place, tmp_path: Path) -> None:
    """Garbage collection beside a running registry: what it remembers is not what it has."""
    version = make_version(tmp_path / "here", files=30)
    place.upload(version, "stable")
    registry.gone = set(registry.blobs)
    uploaded = place.upload(version, "stable")
    assert uploaded.pushed.there == 0
    assert registry.gone == set()
    assert contents(place.pull("stable", tmp_path / "there").directory) == contents(version)


@needs_tool("docker-registry")
def test_garbage_collection_beside_a_running_registry(tmp_path: Path) -> None:
    """Layers of an upload that was not through go; the registry remembers them, and manifests until it is restarted."""
    first, second = make_version(tmp_path / "here", files=30), make_version(tmp_path / "here", CHANGE, files=30)
    with run_registry(tmp_path / "server", cached=True) as server:
        place = registry_place(server, Options(cache=tmp_path / "cache", retries=Retries(attempts=2, first=0.01)))
        place.upload(first, "stable")
        collect_garbage(server, tmp_path / "server/config.yml")
        place.upload(second, "stable")
        assert contents(place.pull("stable", tmp_path / "there").directory) == contents(second)
        with pytest.raises(TransferError, match="does not have it") as error:
            place.upload(first, "stable")
        assert "restart" in (error.value.hint or "")
        assert contents(place.pull("stable", tmp_path / "there").directory) == contents(second)
    with run_registry(tmp_path / "server", cached=True) as server:
        place = registry_place(server, Options(cache=tmp_path / "cache", retries=HASTY))
        place.upload(first, "stable")
        assert contents(place.pull("stable", tmp_path / "again").directory) == contents(first)


def collect_garbage(server: Server, config: Path) -> None:
    """As if the upload had not come as far as its manifest."""
    manifests = server.data / "docker/registry/v2/repositories/images/lab/_manifests"
    shutil.rmtree(manifests)
    manifests.mkdir()
    subprocess.run(["docker-registry", "garbage-collect", config], check=True, capture_output=True)


def test_a_manifest_that_is_gone_is_put_again(registry: StrictRegistry, place: Place, tmp_path: Path) -> None:
    version = make_version(tmp_path / "here", files=30)
    place.upload(version, "stable")
    registry.manifests.clear()
    place.upload(version, "stable")
    assert contents(place.pull("stable", tmp_path / "there").directory) == contents(version)


def test_a_directory_that_lost_a_part_is_not_called_complete(tmp_path: Path) -> None:
    version = make_version(tmp_path / "here", files=30)
    place = Place(str(tmp_path / "share"), lambda name: str(tmp_path / "share/lab" / name), Options())
    place.upload(version, "stable")
    (tmp_path / "share/lab" / version.name / ROOTFS).write_bytes(b"half")
    with pytest.raises(AuditError, match=ROOTFS):
        place.upload(version, "stable")
    assert (tmp_path / "share/lab/stable" / MANIFEST).is_file()
    assert CHANGE
