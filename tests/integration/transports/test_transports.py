"""One suite for all transports, on real servers: what was uploaded is what is pulled, whole or not at all."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.archive.unpack import read_index
from builder.errors import AuditError, DisklessError, InputError, TransferError
from builder.model.artifacts.manifest import BUNDLE, INDEX, LOG, MANIFEST, ROOTFS
from builder.output.given import SIGNATURE
from builder.output.versions import read_manifest
from builder.transports.table import open_transport
from tests.images import ssh_key
from tests.places import Place, open_place
from tests.require import needs_tool
from tests.versions import make_version

pytestmark = [needs_tool("docker-registry", "nginx", "htpasswd", "openssl", "ssh-keygen")]
KINDS = ("directory", "layout", "registry", "web")
VARIANTS = ("registry-basic", "registry-token", "registry-tls", "web-basic", "web-tls", "web-mkcol")
CHANGE = {"etc/hostname": b"changed\n"}


# the variants differ in how they are reached: one test shows that each is, the others are for `make test-full`
@pytest.fixture(params=[*KINDS, *(pytest.param(kind, marks=pytest.mark.full) for kind in VARIANTS)])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with open_place(request.param, tmp_path / "place", monkeypatch) as opened:
        yield opened


@pytest.fixture(params=[*KINDS, *VARIANTS])
def any_place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with open_place(request.param, tmp_path / "place", monkeypatch) as opened:
        yield opened


def contents(version: Path) -> dict[str, str]:
    """The files that travel, by their digests."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in version.iterdir() if path.name != LOG}


def test_what_was_uploaded_is_pulled(any_place: Place, tmp_path: Path) -> None:
    place = any_place
    version = make_version(tmp_path / "here")
    uploaded = place.upload(version, "stable", "testing")
    assert (uploaded.tags, uploaded.before) == (("stable", "testing"), None)
    assert uploaded.pushed.there == 0
    assert uploaded.pushed.sent >= uploaded.pushed.size
    for tag in uploaded.tags:
        pulled = place.pull(tag, tmp_path / tag)
        assert contents(pulled.directory) == contents(version)
        subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=pulled.directory, check=True)
        assert (tmp_path / tag / "lab/latest").readlink() == Path(version.name)
    again = place.upload(version, "stable", "testing")
    assert (again.pushed.sent, again.pushed.files) == (0, 0)


def test_a_new_version_sends_what_changed_and_moves_the_tag(place: Place, tmp_path: Path) -> None:
    first, second = make_version(tmp_path / "here"), make_version(tmp_path / "here", CHANGE)
    place.upload(first, "stable")
    place.pull("stable", tmp_path / "there")
    before = place.open("stable")
    uploaded = place.upload(second, "stable")
    assert uploaded.before == read_manifest(first)
    assert contents(place.pull("stable", tmp_path / "there").directory) == contents(second)
    assert before.data == (first / MANIFEST).read_bytes()
    for artifact in (INDEX, BUNDLE, ROOTFS):
        before.source.fetch(artifact, tmp_path / artifact)
        assert (tmp_path / artifact).read_bytes() == (first / artifact).read_bytes()
    assert {"stable", first.name, second.name} <= set(_names(place)) or _names(place) == ("?",)
    if place.target.startswith("oci"):
        assert uploaded.pushed.sent < uploaded.pushed.size / 10


def _names(place: Place) -> tuple[str, ...]:
    names = open_transport(place.target, place.options)[0].names("lab")
    return ("?",) if names is None else names


def test_only_the_frames_that_are_asked_for_come(place: Place, tmp_path: Path) -> None:
    version = make_version(tmp_path / "here")
    place.upload(version, "stable")
    frames = read_index(version / INDEX).frames
    source = place.open("stable").source
    before = source.received
    wanted = [frames[1], frames[2], frames[7], frames[-1]]
    archive = (version / ROOTFS).read_bytes()
    assert list(source.frames(wanted)) == [archive[frame.offset : frame.offset + frame.size] for frame in wanted]
    assert list(source.frames([])) == []
    if "://" in place.target:
        assert source.received - before <= sum(frame.size for frame in wanted) + 2 * (64 << 10)


def test_a_pull_takes_what_the_last_one_brought(place: Place, tmp_path: Path) -> None:
    place.upload(make_version(tmp_path / "here"), "stable")
    place.pull("stable", tmp_path / "there")
    second = make_version(tmp_path / "here", CHANGE)
    place.upload(second, "stable")
    pulled = place.pull("stable", tmp_path / "there")
    assert contents(pulled.directory) == contents(second)
    assert pulled.received < sum(path.stat().st_size for path in second.iterdir()) / 10
    assert not place.pull("stable", tmp_path / "there").received > 64 << 10


def test_what_is_damaged_here_is_not_uploaded(place: Place, tmp_path: Path) -> None:
    version = make_version(tmp_path / "here")
    data = bytearray((version / ROOTFS).read_bytes())
    data[len(data) // 2] ^= 1
    (version / ROOTFS).write_bytes(data)
    with pytest.raises(AuditError, match=r"rootfs\.tar\.zst is not what manifest\.json says"):
        place.upload(version, "stable")
    with pytest.raises((TransferError, InputError)):
        place.open("stable")


def test_what_is_not_there_is_said(place: Place, tmp_path: Path) -> None:
    with pytest.raises((TransferError, InputError), match="stable"):
        place.open("stable")
    place.upload(make_version(tmp_path / "here"), "stable")
    with pytest.raises((TransferError, InputError), match="unstable") as error:
        place.open("unstable")
    assert "stable" in (error.value.hint or "") or not place.target.startswith("oci")


def test_half_an_upload_is_no_version(place: Place, tmp_path: Path) -> None:
    """The place fills up, or its server ends, in the middle: the tag still means the first version."""
    first, second = make_version(tmp_path / "here"), make_version(tmp_path / "here", CHANGE, kernel=b"new" * 1000)
    place.upload(first, "stable")
    draft = tmp_path / "half" / second.name
    shutil.copytree(second, draft)
    (draft / BUNDLE).unlink()
    with pytest.raises(DisklessError):
        place.upload(draft, "stable")
    assert contents(place.pull("stable", tmp_path / "there").directory) == contents(first)
    place.upload(second, "stable")
    assert contents(place.pull("stable", tmp_path / "there").directory) == contents(second)


def test_signatures(place: Place, tmp_path: Path) -> None:
    trust = tmp_path / "allowed_signers"
    key = ssh_key()
    trust.write_text(f'admin@lab namespaces="diskless" {key.with_suffix(".pub").read_text()}', encoding="ascii")
    version = make_version(tmp_path / "here")
    place.upload(version, "stable")
    with pytest.raises(AuditError, match="not signed"):
        place.pull("stable", tmp_path / "there", trust)
    assert not (tmp_path / "there/lab").exists()
    place.upload(version, "stable", sign=key)
    pulled = place.pull("stable", tmp_path / "there", trust)
    assert pulled.signer == "admin@lab"
    assert (pulled.directory / SIGNATURE).read_bytes() == (version / SIGNATURE).read_bytes()
    altered = make_version(tmp_path / "here", CHANGE)
    shutil.copy(version / SIGNATURE, altered / SIGNATURE)
    with pytest.raises(InputError, match="what stable means is signed"):
        place.upload(altered, "stable")
    place.upload(altered, "testing")
    with pytest.raises(AuditError, match="does not fit"):
        place.pull("testing", tmp_path / "there", trust)


def test_several_at_once_share_what_is_kept(place: Place, tmp_path: Path) -> None:
    version = make_version(tmp_path / "here")
    place.upload(version, "stable")
    results: list[dict[str, str]] = []

    def run(number: int) -> None:
        results.append(contents(place.pull("stable", tmp_path / str(number)).directory))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [contents(version)] * len(threads)
