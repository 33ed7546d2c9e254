"""What version 0.1 wrote is read, served, changed and moved by this one, as it is."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from builder.archive.members import read_members
from builder.archive.writer import scan_tree, write_archive
from builder.deploy import DeployOptions, adopt_kernel, deploy, prune, refresh_menus, rollback
from builder.loaders.pxelinux import Pxelinux
from builder.model.artifacts.index import root_digest
from builder.model.artifacts.manifest import BUNDLE, INDEX, MANIFEST, ROOTFS
from builder.model.generation import GENERATION_SCHEMA
from builder.model.version import Version
from builder.output.offer import Offer
from builder.output.trust import SignerTrust
from builder.output.versions import read_manifest
from builder.pull import PullOptions, pull
from builder.reading import load_site
from builder.render.boot.cmdline import bundle_menu
from builder.store.inspection.status import read_status
from builder.store.inspection.verification import EXPORTS, Severity, verify
from builder.store.layout import find_store
from builder.store.pruning import PruneOptions
from builder.store.reserve import RESERVE
from builder.transports.base import Options
from builder.transports.table import find_offer
from builder.upload import upload
from tests.command import run_command
from tests.releases import DESK, FIRST, SECOND, unpack_release
from tests.require import needs_root
from tests.scratch import new_place
from tests.stores import active, deployed, faults, menu, quiet

pytestmark = [needs_root, pytest.mark.root]


@pytest.fixture
def release() -> Path:
    return unpack_release("0.1", new_place())


def files(place: Path) -> dict[str, bytes]:
    """Of everything but what is held in reserve, which any command that changes a store takes."""
    found = (path for path in sorted(place.rglob("*")) if path.is_file() and path.parent.name != RESERVE)
    return {str(path.relative_to(place)): path.read_bytes() for path in found}


def offer_of(release: Path) -> Offer:
    return find_offer(str(release / "registry/lab/stable"), Options())


def changed_paths(place: Path) -> set[str]:
    """What `verify` says of it, where all that it may say is what a client changed."""
    findings = [finding for finding in verify(find_store(place), deep=True) if finding.where != EXPORTS]
    assert {finding.kind for finding in findings} <= {Severity.CHANGED}, findings
    return {detail for finding in findings for detail in finding.details}


def test_a_store_of_0_1_is_what_it_was(release: Path) -> None:
    place = release / "store"
    before = files(place)
    status = read_status(find_store(place), load_site(place / "site.yml"))
    assert status.menus_current
    assert status.active is not None
    assert status.active.active == {"lab": SECOND, "desk": f"{DESK}.1"}
    assert [generation.number for generation in status.history] == [4, 3, 2, 1]
    assert {image: [version.version for version in versions] for image, versions in status.images.items()} == {
        "desk": [DESK],
        "lab": [SECOND, FIRST],
    }
    assert any("vmlinuz" in path for path in changed_paths(place))
    assert refresh_menus(place, quiet()) is None
    assert deployed(place, release / "output/lab" / SECOND)[0].generation.number == 4
    assert adopt_kernel(place, "desk", None, quiet()) is None
    assert {**before, ".lock": b""} == files(place)


def test_the_way_back_and_forth_in_a_store_of_0_1(release: Path) -> None:
    place = release / "store"
    assert rollback(place, "lab", None, quiet()).active["lab"] == FIRST
    assert active(place) == FIRST
    written = json.loads((place / "boot/current/generation.json").read_text("utf-8"))
    assert written["schema"] == GENERATION_SCHEMA
    assert set(written["menus"]) == {"pxelinux.cfg/default", "pxelinux.cfg/01-52-54-00-12-34-56"}
    changed_paths(place)
    held = deploy(offer_of(release), place, DeployOptions(trust=release / "allowed_signers"), quiet())
    assert (held.unpacked, held.generation.number) == (None, 5)
    assert active(place) == FIRST  # what was rolled back from stays so, until its channel moves on or it is named
    (done,) = deployed(place, release / "output/lab" / SECOND, server=None)
    assert (done.unpacked, done.generation.number) == (None, 6)
    assert active(place) == SECOND


def test_what_this_program_packs_of_the_same_tree_has_the_version_of_0_1(release: Path) -> None:
    manifest = read_manifest(release / "output/lab" / SECOND)
    bundle = read_members(release / "output/lab" / SECOND / BUNDLE)
    assert bundle["pxelinux.cfg/default"] == Pxelinux().render(bundle_menu(manifest)).encode()
    tree = release / "store/versions/lab" / SECOND / "root"
    index = write_archive(scan_tree(tree, manifest.epoch), release / "again")
    digest = root_digest(index.files, {name: hashlib.sha256(content).hexdigest() for name, content in bundle.items()})
    assert (digest, Version.of(manifest.epoch, digest)) == (manifest.root_digest, SECOND)
    assert (release / "again").read_bytes() == (release / "output/lab" / SECOND / ROOTFS).read_bytes()


def test_the_same_version_of_this_program_and_of_0_1_are_one(release: Path) -> None:
    """Their manifests differ in schema; what is there stays as it is, and boots as it did."""
    new = release / "new/lab" / SECOND
    shutil.copytree(release / "output/lab" / SECOND, new)
    text = read_manifest(new).to_json()
    assert json.loads(text)["schema"] == 2
    (new / MANIFEST).write_text(text, encoding="utf-8")
    place = release / "store"
    before = files(place)
    assert deployed(place, new, server=None)[0].unpacked is None
    assert {**before, ".lock": b""} == files(place)
    assert upload(new, str(release / "registry"), ("stable",), Options()).pushed.sent == 0
    offer_of(release)


def test_a_damaged_menu_of_0_1_is_found(release: Path) -> None:
    place = release / "store"
    path = place / "boot/generations/000004/pxelinux.cfg/01-52-54-00-12-34-56"
    path.write_text(path.read_text("utf-8") + "#\n", encoding="utf-8")
    wrong = [EXPORTS, "generations: pxelinux.cfg/01-52-54-00-12-34-56"]
    assert [finding.where for finding in faults(place, deep=False)] == wrong
    assert refresh_menus(place, quiet()) is not None
    assert [finding.where for finding in faults(place, deep=False)] == [EXPORTS]


def test_old_versions_go_from_a_store_of_0_1(release: Path) -> None:
    place = release / "store"
    (place / "site.yml").unlink()
    decisions = prune(place, PruneOptions(keep=1, minimum_age=0, force=True), quiet(), dry_run=False)
    assert {decision.version for decision in decisions if decision.reason is None} == {FIRST}
    assert f"lab/{FIRST}" not in menu(place)
    assert changed_paths(place)


def test_a_signed_version_of_0_1_is_pulled_uploaded_and_deployed_byte_for_byte(release: Path) -> None:
    place, old = release / "new", release / "registry/lab" / SECOND
    pulled = pull(offer_of(release), place / "output", quiet(), PullOptions(SignerTrust(release / "allowed_signers")))
    assert (pulled.directory.name, pulled.signer) == (SECOND, "builder@example.org")
    upload(pulled.directory, str(place / "registry"), (), Options())
    assert files(place / "registry/lab" / SECOND) == files(old)
    done = deployed(place / "store", pulled.directory, trust=release / "allowed_signers")[0]
    assert done.manifest.root_digest == read_manifest(old).root_digest
    for name in (MANIFEST, INDEX):
        assert (place / "store/versions/lab" / SECOND / name).read_bytes() == (old / name).read_bytes()


def test_versions_of_0_1_are_compared_and_shown(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = release / "output"
    status, text, _ = run_command(capsys, "diff", FIRST, SECOND, "--output", str(output))
    assert status == 0
    assert "files: 1 changed, 0 added, 0 removed" in text
    status, text, _ = run_command(capsys, "status", "--to", str(release / "store"), "--json")
    assert status == 0
    versions = json.loads(text)["images"]
    assert [(item["version"], item["mode"]) for item in versions["desk"]] == [(DESK, "rw")]
    assert [item["pinned_by"] for item in versions["lab"]] == [[], ["pinned"]]
