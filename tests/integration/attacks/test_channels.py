"""Channels that are signed, over the life of a server: uploads at once, prunes, backups, revoked keys."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.errors import AuditError, DisklessError, InputError, TransferError
from builder.model.artifacts.channel import ChannelStatement
from builder.store.arrival.channels import MEMORY
from builder.transports.base import Options, Transport
from builder.transports.table import open_transport
from builder.upload import Signing, upload
from tests.images import ssh_key
from tests.integration.attacks.signed import Fleet
from tests.places import Place, open_place
from tests.require import needs_root, needs_tool
from tests.stores import SERVER, active
from tests.versions import make_version

pytestmark = [needs_root, needs_tool("ssh-keygen", "docker-registry", "nginx"), pytest.mark.root]
KINDS = ("directory", "registry", "web")


@pytest.fixture
def fleet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Fleet:
    return Fleet(tmp_path, capsys)


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with open_place(request.param, tmp_path / "place", monkeypatch) as opened:
        yield opened


def said(place: Place, tag: str = "stable") -> ChannelStatement:
    signed = place.open(tag).statement
    assert signed is not None
    return ChannelStatement.from_json(signed.text)


def test_each_upload_raises_the_serial(place: Place, tmp_path: Path) -> None:
    first, second = make_version(tmp_path / "here", files=30), make_version(tmp_path / "here", {"bin": None}, files=30)
    assert place.upload(first, "stable", sign=ssh_key()).serials == {"stable": 1}
    assert place.upload(second, "stable", "testing", sign=ssh_key()).serials == {"stable": 2, "testing": 1}
    assert (said(place).version, said(place, "testing").version) == (second.name, second.name)
    renewed = place.upload(second, "stable", sign=ssh_key(), renew=True)
    assert (renewed.serials, renewed.pushed.files) == ({"stable": 3}, 0)
    with pytest.raises(InputError, match="not"):
        place.upload(first, "stable", sign=ssh_key(), renew=True)
    with pytest.raises(InputError, match="what stable means is signed"):
        place.upload(first, "stable")
    with pytest.raises(InputError, match="has serial 3 already"):
        place.upload(first, "stable", sign=ssh_key(), serial=3)
    assert place.upload(first, "stable", sign=ssh_key(), serial=40, life=60).serials == {"stable": 40}
    assert said(place).expires - said(place).issued == 60
    trust = tmp_path / "allowed_signers"
    trust.write_text(f"admin {ssh_key().with_suffix('.pub').read_text('ascii')}", encoding="ascii")
    assert place.pull("stable", tmp_path / "there", trust).signer == "admin"


def test_two_uploads_at_once(place: Place, tmp_path: Path) -> None:
    """Whoever comes second is refused, and the tag means what the first one signed."""
    first, second = make_version(tmp_path / "here", files=30), make_version(tmp_path / "here", {"bin": None}, files=30)
    place.upload(first, "stable", sign=ssh_key())
    ready, go = threading.Event(), threading.Event()
    transport, _ = open_transport(place.target, place.options)
    read = type(transport).statement

    def slowly(self: Transport, image: str, tag: str) -> object:
        found = read(self, image, tag)
        ready.set()
        assert go.wait(60)
        return found

    failures: list[BaseException] = []

    def late() -> None:
        try:
            upload(second, place.target, ("stable",), place.options, Signing(ssh_key()))
        except BaseException as error:
            failures.append(error)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(transport), "statement", slowly)
        thread = threading.Thread(target=late)
        thread.start()
        assert ready.wait(60)
    assert place.upload(first, "stable", sign=ssh_key()).serials == {"stable": 2}
    go.set()
    thread.join()
    assert [type(error) for error in failures] == [TransferError]
    assert "another upload moved stable" in str(failures[0])
    assert (said(place).version, said(place).serial) == (first.name, 2)


def test_serials_outlive_a_prune_and_a_backup(fleet: Fleet) -> None:
    fleet.upload(fleet.make("1"))
    assert fleet.deploy()[0] == 0
    backup = fleet.work / "backup"
    shutil.copytree(fleet.store, backup, symlinks=True)
    old = fleet.keep()
    versions = [fleet.make(name) for name in ("2", "3", "4")]
    for version in versions:
        fleet.upload(version)
        assert fleet.deploy()[0] == 0
    assert fleet.run("prune", "--to", fleet.store, "--keep", "1", "--min-age", "0", "--force")[0] == 0
    fleet.play_back(old)
    assert fleet.deploy()[0] == 5
    for path in list(fleet.store.iterdir()):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    shutil.copytree(backup, fleet.store, symlinks=True, dirs_exist_ok=True)
    memory = json.loads((fleet.store / MEMORY).read_text("utf-8"))
    assert memory["channels"]["lab"]["stable"]["serial"] == 1
    status, _, error = fleet.deploy()
    assert status == 5, error
    assert "of 4 was seen" in error
    status, _, error = fleet.deploy(fleet.tag(), "--allow-downgrade")
    assert status == 0, error
    assert "goes back from serial 4 to 1" in error


def test_a_memory_that_cannot_be_read_is_no_empty_one(fleet: Fleet) -> None:
    fleet.upload(fleet.make("1"))
    assert fleet.deploy()[0] == 0
    (fleet.store / MEMORY).write_text("{", encoding="ascii")
    status, _, error = fleet.deploy()
    assert status == 5, error
    assert f"{MEMORY} cannot be read" in error


def test_a_key_that_is_revoked(fleet: Fleet) -> None:
    other = fleet.work / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    lines = [fleet.signers.read_text("ascii"), f"admin {other.with_suffix('.pub').read_text('ascii')}"]
    fleet.signers.write_text("".join(lines), encoding="ascii")
    revoked = fleet.work / "revoked"
    revoked.write_text("", encoding="ascii")
    with fleet.site.open("a", encoding="utf-8") as site:
        site.write(f"revoked: {revoked}\n")
    first, second = fleet.make("1"), fleet.make("2")
    fleet.upload(first)
    assert fleet.deploy()[0] == 0
    revoked.write_text(ssh_key().with_suffix(".pub").read_text("ascii"), encoding="ascii")
    for command in (("deploy", fleet.tag()), ("refresh",)):
        status, _, error = fleet.run(*command, "--to", fleet.store)
        assert status == 5, error
        assert "revokes" in error
    pull = ("pull", fleet.tag(), "--output", fleet.work / "there", "--trust", fleet.signers, "--revoked", revoked)
    status, _, error = fleet.run(*pull)
    assert status == 5, error
    upload(second, str(fleet.share), ("stable",), Options(), Signing(other))
    status, out, error = fleet.deploy()
    assert status == 0, error
    assert "signed by admin; stable means it, serial 2" in out
    status, _, error = fleet.run("rollback", "--to", fleet.store, "lab", first.name)
    assert status == 5, error
    assert active(fleet.store) == second.name
    status, _, error = fleet.run("rollback", "--to", fleet.store, "lab", first.name, "--allow-revoked")
    assert status == 0, error
    assert active(fleet.store) == first.name
    status, out, _ = fleet.run("status", "--to", fleet.store)
    assert "signed by admin" in out
    assert "revokes" in out


@pytest.mark.parametrize("count", [6, pytest.param(50, marks=pytest.mark.full)])
def test_a_server_on_a_channel(fleet: Fleet, count: int) -> None:
    """Versions, renewals, two rollbacks; each statement that was ever signed is played back, and refused."""
    copies: list[Path] = []
    for number in range(count):
        version = fleet.make(str(number))
        fleet.upload(version)
        status, _, error = fleet.deploy(fleet.tag(), "--keep", "2")
        assert status == 0, error
        assert active(fleet.store) == version.name
        if number in (count // 3, count // 2):
            status, _, error = fleet.run("rollback", "--to", fleet.store)
            assert status == 0, error
            assert f"which stable meant at last (serial {number + 1})" in error
            assert fleet.deploy()[0] == 0
        now = fleet.keep()
        if number:
            fleet.play_back(copies[number // 2])
            assert fleet.deploy()[0] == 5
            fleet.play_back(copies[-1])
            assert fleet.deploy()[0] == 5
            fleet.play_back(now)
        copies.append(now)


def test_a_statement_that_nobody_signed_moves_nothing(fleet: Fleet) -> None:
    """The signature is of another text, or of none; an upload does not go on from there either."""
    fleet.upload(fleet.make("1"))
    channel = fleet.share / "lab/channels/stable.json"
    content = json.loads(channel.read_text("utf-8"))
    for statement in ("{}", content["statement"].replace('"serial": 1', '"serial": 2')):
        channel.write_text(json.dumps({**content, "statement": statement}), encoding="utf-8")
        status, _, error = fleet.deploy()
        assert status == 5, error
    channel.write_text(json.dumps(content), encoding="utf-8")
    status, _, error = fleet.deploy()
    assert status == 0, error
    with pytest.raises(DisklessError, match="signed with nonsense"):
        channel.write_text(json.dumps({**content, "statement": "{}"}), encoding="utf-8")
        upload(fleet.make("2"), str(fleet.share), ("stable",), Options(), Signing(ssh_key()))


@pytest.mark.parametrize(
    "line", ["signers: [{image: lab, names: [builder]}]", "revoked: {}", "require_statement: true"]
)
def test_a_site_that_says_who_and_by_no_keys(fleet: Fleet, line: str) -> None:
    for name in ("1", "2"):
        fleet.upload(fleet.make(name))
        assert fleet.deploy()[0] == 0
    revoked = fleet.work / "revoked"
    revoked.write_text("", encoding="ascii")
    fleet.site.write_text(f"server: {SERVER}\n{line.replace('{}', str(revoked))}\n", encoding="utf-8")
    before = active(fleet.store)
    for command in (("deploy", fleet.tag()), ("rollback",), ("refresh",), ("verify",), ("status",)):
        status, _, error = fleet.run(*command, "--to", fleet.store)
        assert status == InputError.exit_code, (command, error)
        assert "but no trusted keys are" in error
    assert active(fleet.store) == before


def test_a_serial_that_nobody_trusted_chose(fleet: Fleet) -> None:
    """Who can write to the place, and has a key of its own, uses up the serials."""
    stranger = fleet.work / "stranger"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", stranger], check=True)
    version = fleet.make("1")
    upload(version, str(fleet.share), ("stable",), Options(), Signing(stranger, serial=2**53))
    trusting = Signing(ssh_key(), trust=fleet.signers)
    with pytest.raises(AuditError, match=r"nobody in .* signed what stable means") as caught:
        upload(version, str(fleet.share), ("stable",), Options(), trusting)
    assert "--serial N" in (caught.value.hint or "")
    again = upload(version, str(fleet.share), ("stable",), Options(), dataclasses.replace(trusting, serial=3))
    assert again.serials == {"stable": 3}
    assert fleet.deploy()[0] == 0
