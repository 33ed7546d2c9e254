"""OCI layouts: what other programs read and write of them, what is refused, and what a killed upload leaves."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.deploy import DeployOptions, deploy, refresh_menus
from builder.errors import AuditError, DisklessError, InputError
from builder.transports.base import Options
from builder.transports.oci import layout as layout_module
from builder.transports.oci.layout import parse_layout
from builder.transports.table import find_offer, is_remote, open_transport
from tests.images import run_diskless, ssh_key
from tests.integration.transports.test_transports import CHANGE, contents
from tests.places import HASTY, Place, registry_place
from tests.require import needs_root, needs_tool
from tests.scratch import new_place
from tests.servers import run_registry
from tests.stores import SERVER, faults, quiet
from tests.versions import make_version


@pytest.fixture
def place(tmp_path: Path) -> Place:
    target = f"oci-layout:{tmp_path / 'layout'}"
    return Place(target, lambda name: f"{target}:{name}", Options())


@needs_tool("skopeo", "docker-registry")
def test_skopeo_reads_and_writes_it(place: Place, tmp_path: Path) -> None:
    version = make_version(tmp_path / "here")
    place.upload(version, "stable", sign=ssh_key())
    with run_registry(tmp_path / "server") as server:
        registry = registry_place(server, Options(retries=HASTY))
        there = f"docker://{server.address}/images/lab:stable"
        plain = ["--src-tls-verify=false", "--dest-tls-verify=false", "-q"]
        subprocess.run(["skopeo", "copy", *plain, f"oci:{tmp_path / 'layout'}:stable", there], check=True)
        assert contents(registry.pull("stable", tmp_path / "pulled").directory) == contents(version)
        assert registry.open("stable").statement == place.open("stable").statement
        subprocess.run(["skopeo", "copy", *plain, there, f"oci:{tmp_path / 'other'}:copy"], check=True)
    copied = Place(
        f"oci-layout:{tmp_path / 'other'}", lambda name: f"oci-layout:{tmp_path / 'other'}:{name}", Options()
    )
    assert contents(copied.pull("copy", tmp_path / "back").directory) == contents(version)
    copied.upload(make_version(tmp_path / "here", CHANGE), "next")  # beside what skopeo wrote
    listed = subprocess.run(
        ["skopeo", "inspect", "--raw", f"oci:{tmp_path / 'other'}:copy"], check=True, capture_output=True
    ).stdout
    assert json.loads(listed)["artifactType"] == "application/vnd.diskless.version.v1"


@needs_root
@pytest.mark.root
def test_a_store_lives_from_it(place: Place, tmp_path: Path) -> None:
    store = new_place()
    trust = tmp_path / "signers"
    trust.write_text(f"admin {ssh_key().with_suffix('.pub').read_text('ascii')}", encoding="ascii")
    for changes in ({}, CHANGE):
        version = make_version(tmp_path / "here", changes)
        place.upload(version, "stable", sign=ssh_key())
        options = DeployOptions(SERVER, trust=trust, image="lab", state=tmp_path / "state")
        deployed = deploy(place.open("stable"), store, options, quiet())
        assert deployed.manifest.version == version.name
        assert deployed.approval is not None
        assert deployed.approval.statement is not None
    assert deployed.unpacked is not None
    assert deployed.unpacked.written == 1
    shutil.rmtree(tmp_path / "layout")
    refresh_menus(store, quiet())
    assert faults(store) == []


@needs_root
@pytest.mark.root
def test_the_commands_take_its_references(place: Place, tmp_path: Path) -> None:
    version = make_version(tmp_path / "here", files=30)
    done = run_diskless("upload", version, "--to", f"{place.target}:stable", "--mode", "0644", "--layers", "20")
    assert (done.returncode, done.stdout.strip()) == (0, f"{place.target}:{version.name}")
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in (tmp_path / "layout").rglob("*") if path.is_file())
    for command in (("pull", "--output", tmp_path / "out"), ("deploy", "--to", new_place(), "--server", SERVER)):
        done = run_diskless(*command, f"{place.target}:stable")
        assert done.returncode == 0, done.stderr
    for reference in ("oci:/some/where", "oci:where:tag"):
        done = run_diskless("upload", version, "--to", reference, cwd=tmp_path)
        assert done.returncode == 2
        assert "oci-layout:DIR" in done.stderr
        done = run_diskless("deploy", reference, "--to", new_place(), cwd=tmp_path)
        assert done.returncode == 2
    assert not list(tmp_path.glob("oci:*"))


def test_references() -> None:
    digest = f"sha256:{'0' * 64}"
    assert parse_layout("oci-layout:dir") == (Path("dir"), None, None)
    assert parse_layout("oci-layout:/a b/c:stable") == (Path("/a b/c"), "stable", None)
    assert parse_layout("oci-layout:///a/c:1.0") == (Path("/a/c"), "1.0", None)
    assert parse_layout(f"oci-layout:a:b:stable@{digest}") == (Path("a:b"), "stable", digest)
    assert parse_layout("oci-layout:/a:b/c") == (Path("/a:b/c"), None, None)
    for text in ("oci-layout:", "oci-layout://", "oci-layout:a\0b"):
        with pytest.raises(InputError):
            parse_layout(text)
    assert is_remote("oci-layout:dir")
    with pytest.raises(InputError, match="a digest"):
        open_transport(f"oci-layout:dir@{digest}", Options())


def _blob_of(place: Path, title: str) -> Path:
    index = json.loads((place / "index.json").read_text(encoding="ascii"))
    document = json.loads((place / "blobs/sha256" / index["manifests"][-1]["digest"][7:]).read_text(encoding="ascii"))
    found = [one for one in document["layers"] if one["annotations"]["org.opencontainers.image.title"] == title]
    return place / "blobs/sha256" / str(found[0]["digest"])[7:]


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o640)
    path.write_bytes(data)


def _link(path: Path) -> None:
    path.rename(path.with_name("aside"))
    path.symlink_to("aside")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a byte of the archive": lambda place: _flip(_blob_of(place, "rootfs.tar.zst.00001")),
    "a byte of the manifest": lambda place: _flip(_blob_of(place, "manifest.json")),
    "a part cut": lambda place: _blob_of(place, "boot.tar.zst.00001").write_bytes(b"x"),
    "a part gone": lambda place: _blob_of(place, "index.json.zst").unlink(),
    "a link for a part": lambda place: _link(_blob_of(place, "rootfs.tar.zst.00002")),
    "a link for all blobs": lambda place: _link(place / "blobs/sha256"),
    "an index of nonsense": lambda place: (place / "index.json").write_text("{"),
    "an index of numbers": lambda place: (place / "index.json").write_text('{"manifests": [1, {"digest": "../x"}]}'),
    "an index that is a link": lambda place: _link(place / "index.json"),
    "no oci-layout": lambda place: (place / "oci-layout").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named_and_healed_by_the_next_upload(damage: str, place: Place, tmp_path: Path) -> None:
    version = make_version(tmp_path / "here")
    place.upload(version, "stable")
    DAMAGES[damage](tmp_path / "layout")
    with pytest.raises(DisklessError) as error:
        place.pull("stable", tmp_path / "pulled")
    assert error.value.exit_code in (2, 5, 7)
    assert error.value.hint
    assert not (tmp_path / "pulled/lab/latest").exists()
    if damage.startswith(("a byte", "a part")):
        place.upload(version, "stable")
        assert contents(place.pull("stable", tmp_path / "healed").directory) == contents(version)


def test_a_directory_of_something_else_is_left_alone(place: Place, tmp_path: Path) -> None:
    (tmp_path / "layout").mkdir()
    (tmp_path / "layout/photo").write_bytes(b"x")
    with pytest.raises(InputError, match="is no OCI layout, and not empty"):
        place.upload(make_version(tmp_path / "here", files=30))
    assert [path.name for path in (tmp_path / "layout").iterdir()] == ["photo"]


def test_another_image_is_refused(place: Place, tmp_path: Path) -> None:
    place.upload(make_version(tmp_path / "here", files=30), "stable")
    with pytest.raises(InputError, match="is the image lab, not other"):
        place.upload(make_version(tmp_path / "here", files=30, image="other"), "beta")


def test_until_the_index_changes_nothing_changes(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = make_version(tmp_path / "here"), make_version(tmp_path / "here", CHANGE)
    place.upload(first, "stable")

    def fail(index: object) -> bytes:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(layout_module, "_text", fail)
        with pytest.raises(DisklessError, match="No space left"):
            place.upload(second, "stable")
    assert contents(place.pull("stable", tmp_path / "pulled").directory) == contents(first)
    assert not list((tmp_path / "layout").glob(".tmp-*"))
    place.upload(second, "stable")
    assert contents(place.pull("stable", tmp_path / "pulled").directory) == contents(second)


def test_a_version_that_is_removed_takes_its_blobs(place: Place, tmp_path: Path) -> None:
    first, second = make_version(tmp_path / "here"), make_version(tmp_path / "here", CHANGE)
    place.upload(first, "stable")
    before = set((tmp_path / "layout/blobs/sha256").iterdir())
    place.upload(second, "stable")
    open_transport(place.target, place.options)[0].remove("lab", first.name)  # type: ignore[arg-type]
    after = set((tmp_path / "layout/blobs/sha256").iterdir())
    assert before - after
    assert before & after
    assert contents(place.pull("stable", tmp_path / "pulled").directory) == contents(second)
    with pytest.raises(DisklessError, match=first.name):
        find_offer(place.reference(first.name), place.options)
    with pytest.raises(AuditError):
        (tmp_path / "layout/index.json").write_text("[]")
        place.open("stable")
