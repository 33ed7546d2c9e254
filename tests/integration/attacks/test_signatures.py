"""What whoever can write to a place of versions, or into a store, could make a server boot in 0.1."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from builder.model.artifacts.manifest import MANIFEST, ROOTFS
from builder.pull import MEMORY_FILE
from tests.integration.attacks.signed import Fleet
from tests.require import needs_root, needs_tool
from tests.stores import active, menu

pytestmark = [needs_root, needs_tool("ssh-keygen"), pytest.mark.root]
SIGNATURE = f"{MANIFEST}.sig"


@pytest.fixture
def fleet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Fleet:
    return Fleet(tmp_path, capsys)


def test_a_tag_that_is_put_back_to_an_older_signed_version(fleet: Fleet) -> None:
    fleet.upload(fleet.make("1"))
    assert fleet.deploy()[0] == 0
    before = fleet.keep()
    second = fleet.make("2")
    fleet.upload(second)
    assert fleet.deploy()[0] == 0
    fleet.play_back(before)
    status, _, error = fleet.deploy()
    assert status == 5, error
    assert "serial" in error
    assert active(fleet.store) == second.name


def test_an_older_signed_version_under_a_tag_that_stays(fleet: Fleet) -> None:
    """Only the link is moved."""
    first, second = fleet.make("1"), fleet.make("2")
    fleet.upload(first)
    fleet.upload(second)
    (fleet.share / "lab/stable").unlink()
    (fleet.share / "lab/stable").symlink_to(first.name)
    assert fleet.deploy()[0] == 5


@pytest.mark.parametrize("form", ["file://{}", "{}"])
@pytest.mark.parametrize("command", ["deploy", "pull"])
def test_a_directory_in_the_place_of_a_tag(fleet: Fleet, command: str, form: str) -> None:
    """A copy of an older version is no less a channel than the link that it replaced."""
    first, second = fleet.make("1"), fleet.make("2")
    fleet.upload(first)
    fleet.upload(second)
    tag, there = fleet.share / "lab/stable", fleet.work / "there"
    reference = form.format(tag)
    pull = ("pull", reference, "--output", there, "--trust", fleet.signers)
    status, _, error = fleet.deploy(reference) if command == "deploy" else fleet.run(*pull)
    assert status == 0, error
    tag.unlink()
    shutil.copytree(fleet.share / "lab" / first.name, tag)
    status, _, error = fleet.deploy(reference) if command == "deploy" else fleet.run(*pull)
    assert status == 5, error
    if command == "deploy":
        assert active(fleet.store) == second.name
    else:
        assert (there / "lab/latest").readlink().name == second.name
    shutil.rmtree(fleet.share / "lab/channels")
    more = ("--require-statement",) if command == "pull" else ()
    for path in (fleet.store / "channels.json", there):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    with fleet.site.open("a", encoding="utf-8") as site:
        site.write("require_statement: true\n")
    state = fleet.work / "empty"
    status, _, error = fleet.deploy(reference, "--state", state) if command == "deploy" else fleet.run(*pull, *more)
    assert status == 5, error
    assert "nobody signed what stable of lab means" in error


def test_names_in_a_place_that_is_not_the_operators(fleet: Fleet) -> None:
    """Whoever can write there says what they lead to, link or not; of the operator's own nothing is asked."""
    first, second = fleet.make("1"), fleet.make("2")
    lab, own = fleet.share / "lab", ("--output", fleet.work / "output")
    fleet.upload(first, "latest")
    fleet.upload(second, "latest")
    assert fleet.deploy(lab, *own)[0] == 0
    (lab / "latest").unlink()
    (lab / "latest").symlink_to(first.name)
    shutil.copytree(lab / first.name, lab / "real")
    (lab / "other").symlink_to(first)
    for path in (lab, lab / "latest", lab / "real", lab / "other", lab / "real/../real"):
        status, _, error = fleet.deploy(path, *own)
        assert status == 5, (path, error)
    assert active(fleet.store) == second.name
    for reference in ("lab", first.parent / "latest", lab / first.name):
        shutil.copy(lab / first.name / SIGNATURE, first)
        shutil.copy(lab / second.name / SIGNATURE, second)
        status, _, error = fleet.deploy(reference, *own)
        assert status == 0, (reference, error)


@pytest.mark.parametrize("command", ["deploy", "pull", "pull of before"])
def test_another_images_version_under_the_tag_of_one(fleet: Fleet, command: str) -> None:
    fleet.upload(fleet.make("1"))
    other = fleet.make("1", image="desk")
    fleet.upload(other)
    there = fleet.work / "there"
    pull = ("pull", fleet.tag(), "--output", there, "--trust", fleet.signers)
    status, _, error = fleet.deploy() if command == "deploy" else fleet.run(*pull)
    assert status == 0, error
    if command == "pull of before":  # which kept its memory with the image
        (there / MEMORY_FILE).rename(there / "lab" / MEMORY_FILE)
    shutil.rmtree(fleet.share / "lab")
    shutil.copytree(fleet.share / "desk", fleet.share / "lab", symlinks=True)
    status, _, error = fleet.deploy() if command == "deploy" else fleet.run(*pull)
    assert status == 5, error
    assert "has the image desk, and had lab until now" in error
    assert not (fleet.store / "versions/desk").exists()
    assert not list(there.glob("desk/*"))


def test_pull_remembers_before_latest_moves(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in between it comes to the same again; the other way about an older version were believed."""
    version = fleet.make("1")
    fleet.upload(version)
    there = fleet.work / "there"
    command = ("pull", fleet.tag(), "--output", there, "--trust", fleet.signers)

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("builder.pull.publish_version", killed)
        assert fleet.run(*command)[0] != 0
    assert '"serial": 1' in (there / MEMORY_FILE).read_text("ascii")
    assert fleet.run(*command)[0] == 0


def test_a_damaged_version_is_no_latest(fleet: Fleet) -> None:
    first, second = fleet.make("1"), fleet.make("2")
    there = fleet.work / "there"
    command = ("pull", fleet.tag(), "--output", there, "--trust", fleet.signers)
    for version in (first, second):
        fleet.upload(version)
        assert fleet.run(*command)[0] == 0
    archive = there / "lab" / first.name / ROOTFS
    archive.chmod(0o640)
    archive.write_bytes(bytes(archive.stat().st_size))
    fleet.upload(first)
    status, _, error = fleet.run(*command)
    assert status == 5, error
    assert (there / "lab/latest").readlink().name == second.name


def test_a_versions_name_that_means_another_version(fleet: Fleet) -> None:
    first, second = fleet.make("1"), fleet.make("2")
    fleet.upload(first)
    fleet.upload(second)
    shutil.rmtree(fleet.share / "lab" / second.name)
    shutil.copytree(fleet.share / "lab" / first.name, fleet.share / "lab" / second.name)
    status, _, error = fleet.deploy(fleet.share / "lab" / second.name)
    assert status == 5, error
    assert second.name in error


def test_pull_takes_no_unsigned_version_for_a_signed_one(fleet: Fleet) -> None:
    """One that is here already, with the same files and other kernel arguments."""
    version = fleet.make("1")
    fleet.upload(version)
    there = fleet.work / "there/lab" / version.name
    shutil.copytree(version, there)
    (there / SIGNATURE).unlink(missing_ok=True)
    manifest = json.loads((there / MANIFEST).read_text("utf-8"))
    manifest["cmdline"] = ["init=/bin/sh"]
    (there / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    command = ("pull", fleet.tag(), "--output", fleet.work / "there", "--trust", fleet.signers)
    status, _, error = fleet.run(*command)
    assert status == 5, error
    assert "manifest" in error


def test_an_edited_manifest_of_a_store_comes_into_no_menu(fleet: Fleet) -> None:
    version = fleet.make("1")
    fleet.upload(version)
    assert fleet.deploy()[0] == 0
    path = fleet.store / "versions/lab" / version.name / MANIFEST
    manifest = json.loads(path.read_text("utf-8"))
    manifest["cmdline"].append("init=/bin/sh")
    path.write_text(json.dumps(manifest), encoding="utf-8")
    status, _, error = fleet.run("refresh", "--to", fleet.store)
    assert status == 5, error
    assert "init=/bin/sh" not in menu(fleet.store)
    status, out, _ = fleet.run("verify", "--to", fleet.store)
    assert status == 5
    assert "does not fit" in out
    fleet.upload(fleet.make("2"))
    status, _, error = fleet.deploy()
    assert status == 0, error
    assert f"does not fit lab {version.name}: prune it" in error
    status, _, error = fleet.run("rollback", "--to", fleet.store)
    assert status == 5, error


def test_a_version_of_a_signer_of_another_image(fleet: Fleet) -> None:
    fleet.site.write_text(
        fleet.site.read_text("utf-8") + "signers: [{image: desk, names: [builder]}]\n", encoding="utf-8"
    )
    fleet.upload(fleet.make("1"))
    status, _, error = fleet.deploy()
    assert status == 5, error
    assert "may not sign the image lab" in error


def test_other_kernel_arguments_under_the_same_version(fleet: Fleet) -> None:
    """Unsigned: the name of a version is of what menus say, too."""
    version = fleet.make("1")
    fleet.site.write_text("server: 192.168.1.1\n", encoding="utf-8")
    manifest = json.loads((version / MANIFEST).read_text("utf-8"))
    manifest["cmdline"].append("init=/bin/sh")
    forged = fleet.work / "forged" / version.name
    shutil.copytree(version, forged)
    (forged / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    status, _, error = fleet.deploy(forged)
    assert status == 5, error
    assert not (fleet.store / "versions/lab").exists()
