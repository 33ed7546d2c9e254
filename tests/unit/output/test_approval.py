"""What a channel statement is believed for: order by serial, time by the later of two clocks, nothing older again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest

from builder.errors import AuditError
from builder.model.artifacts.channel import LARGEST_SERIAL, ChannelStatement
from builder.model.artifacts.manifest import Manifest
from builder.model.artifacts.memory import ChannelMemory
from builder.model.text.moment import Clock, Moment
from builder.output.approval import Approval, approve
from builder.output.offer import Asked, Offer, SignedStatement
from builder.output.signature import sign_bytes
from builder.output.source import Source
from builder.output.trust import SignerTrust
from builder.transports.base import TagMove
from builder.transports.channel_file import read_channel
from tests.images import ssh_key
from tests.require import needs_tool
from tests.samples import MANIFEST

pytestmark = needs_tool("ssh-keygen")
NOW, DAY = 1_800_000_000, 86400


class Nowhere(Source):
    name = "nowhere"

    def fetch(self, artifact: str, target: Path) -> None:
        raise NotImplementedError

    def frames(self, frames: object) -> None:  # type: ignore[override]
        raise NotImplementedError


def statement(serial: int, of: Manifest = MANIFEST, issued: int = NOW, **changes: object) -> ChannelStatement:
    digest = hashlib.sha256(of.to_json().encode()).hexdigest()
    made = ChannelStatement(of.image, "stable", of.version, digest, serial, issued, issued + 30 * DAY)
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def offer(said: ChannelStatement | None, manifest: Manifest = MANIFEST, asked: Asked | None = None) -> Offer:
    data = manifest.to_json().encode()
    signed = None if said is None else SignedStatement(said.to_json(), sign_bytes(said.to_json().encode(), ssh_key()))
    asked = asked or Asked("oci://host/lab:stable", tag="stable", place="oci://host/lab")
    return Offer(Nowhere(), data, manifest, sign_bytes(data, ssh_key()), asked, signed)


@pytest.fixture
def trust(tmp_path: Path) -> SignerTrust:
    path = tmp_path / "allowed_signers"
    path.write_text(f"builder {ssh_key().with_suffix('.pub').read_text('ascii')}", encoding="ascii")
    return SignerTrust(path)


def seen(
    trust: SignerTrust,
    what: Offer,
    memory: ChannelMemory | None = None,
    now: int = NOW,
    *,
    allow: bool = False,
    synchronised: bool = False,
) -> Approval:
    moment = Moment(now, Clock("", "", 0, synchronised))
    return approve(what, trust, memory or ChannelMemory(), moment, allow_downgrade=allow)


@pytest.mark.parametrize("text", ["\ud800", "größe", "\0"])
def test_a_text_that_nobody_can_have_signed(trust: SignerTrust, text: str) -> None:
    """It is none of ASCII, which statements are; wherever it is met, the error is one of ours."""
    signed = SignedStatement(text, b"")
    with pytest.raises(AuditError):
        seen(trust, dataclasses.replace(offer(None), statement=signed))
    with pytest.raises(AuditError):
        TagMove("stable", signed).check_document(b"{}", "here")
    content = {"schema": 1, "manifest": "x", "sha256": "0" * 64, "statement": text, "signature": "\ud800"}
    assert read_channel(json.dumps(content).encode()) is None


def test_order_is_the_serial_and_no_date(trust: SignerTrust) -> None:
    memory = seen(trust, offer(statement(7))).memory
    again = seen(trust, offer(statement(7)), memory)
    assert (again.signer, again.memory) == ("builder", memory)
    with pytest.raises(AuditError, match=r"serial 6.*of 7 was seen"):
        seen(trust, offer(statement(6, issued=NOW + DAY)), memory)
    later = seen(trust, offer(statement(8, issued=NOW - DAY)), memory).memory
    assert later.seen("lab", "stable") is not None
    assert later.newest_issued == NOW
    back = seen(trust, offer(statement(6)), memory, allow=True)
    assert "goes back from serial 7 to 6" in back.notes[0]
    assert seen(trust, offer(statement(6)), back.memory).notes == ()


def test_two_statements_of_one_serial(trust: SignerTrust) -> None:
    memory = seen(trust, offer(statement(7))).memory
    with pytest.raises(AuditError, match="two statements of serial 7") as caught:
        seen(trust, offer(statement(7, issued=NOW + 1)), memory)
    assert "--serial 8" in (caught.value.hint or "")


def test_a_statement_that_was_taken_away(trust: SignerTrust) -> None:
    assert "nobody signed" in seen(trust, offer(None)).warnings[0]
    memory = seen(trust, offer(statement(7))).memory
    with pytest.raises(AuditError, match="stable has serial 7"):
        seen(trust, offer(None), memory)
    other = Asked("oci://host/lab:testing", tag="testing")
    with pytest.raises(AuditError, match="stable has serial 7"):
        seen(trust, offer(None, asked=other), memory)
    with pytest.raises(AuditError, match="nobody signed"):
        seen(dataclasses.replace(trust, require_statement=True), offer(None))


def test_an_exact_version_needs_none_and_says_that_it_is_older(trust: SignerTrust) -> None:
    newer = dataclasses.replace(MANIFEST, version=type(MANIFEST.version)("20260203-0123abcd"))
    memory = seen(trust, offer(statement(7, newer), newer)).memory
    exact = Asked("oci://host/lab:20260102-0123abcd", version=MANIFEST.version)
    approval = seen(trust, offer(None, asked=exact), memory)
    assert approval.notes == (
        "lab 20260102-0123abcd is older than 20260203-0123abcd, which stable meant at last (serial 7)",
    )
    assert approval.memory.channels == memory.channels


@pytest.mark.parametrize("clock", [0, NOW - 400 * DAY, NOW + 31 * DAY])
def test_expiry_is_by_the_later_of_the_clock_and_what_was_issued(trust: SignerTrust, clock: int) -> None:
    """Whatever the clock says, what was newer once tells that this one has expired."""
    memory = seen(trust, offer(statement(7, issued=NOW + 31 * DAY)), now=NOW).memory
    with pytest.raises(AuditError, match="expired"):
        seen(trust, offer(statement(8)), memory, now=clock)


def test_a_clock_that_is_wrong_is_called_so(trust: SignerTrust) -> None:
    approval = seen(trust, offer(statement(7)), now=0)
    assert "the clock is wrong" in approval.warnings[0]
    assert seen(trust, offer(statement(7)), now=NOW - 60).warnings == ()


def test_a_statement_of_a_time_to_come_where_the_clock_is_right(trust: SignerTrust) -> None:
    with pytest.raises(AuditError, match="was issued at"):
        seen(trust, offer(statement(7, issued=NOW + 400 * DAY)), synchronised=True)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"image": "desk"}, "image"),
        ({"tag": "testing"}, "tag"),
        ({"version": "20260102-ffffffff"}, "version"),
        ({"manifest": "0" * 64}, "manifest"),
    ],
)
def test_a_statement_of_something_else(trust: SignerTrust, changes: dict[str, str], what: str) -> None:
    with pytest.raises(AuditError, match=f"is of the {what} "):
        seen(trust, offer(statement(7, **changes)))  # type: ignore[arg-type]


def test_a_place_that_has_another_image_than_before(trust: SignerTrust) -> None:
    memory = seen(trust, offer(statement(7))).memory
    desk = dataclasses.replace(MANIFEST, image="desk")
    with pytest.raises(AuditError, match="has the image desk, and had lab"):
        seen(trust, offer(statement(1, desk), desk), memory)


def test_who_may_sign_what(trust: SignerTrust) -> None:
    only = dataclasses.replace(trust, images={"lab": ("builder",)})
    assert seen(only, offer(statement(7))).signer == "builder"
    for images in ({"lab": ("admin",)}, {"desk": ("builder",)}):
        with pytest.raises(AuditError, match="may not sign the image lab"):
            seen(dataclasses.replace(trust, images=images), offer(statement(7)))


def test_what_both_memories_saw_is_remembered() -> None:
    one = ChannelMemory().with_statement(statement(7), "07" * 32, forget=False)
    two = ChannelMemory().with_statement(statement(9), "09" * 32, forget=False).with_place("here", "lab")
    for memory in (one.merged(two), two.merged(one)):
        seen_last = memory.seen("lab", "stable")
        assert seen_last is not None
        assert (seen_last.serial, dict(memory.places)) == (9, {"here": "lab"})
        assert ChannelMemory.from_json(memory.to_json().encode()) == memory


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[" * 100_000,
        MANIFEST.to_json(),
        "x" * 5000,
        statement(1).to_json().replace('"serial": 1', '"serial": 0'),
        statement(1).to_json().replace('"serial": 1', f'"serial": {LARGEST_SERIAL + 1}'),
        statement(1).to_json().replace('"serial": 1', '"serial": true'),
        statement(1).to_json().replace('"channel"', '"version"'),
        statement(1).to_json().replace('"schema": 1', '"schema": 2'),
        statement(1).to_json().replace('"lab"', '"../lab"'),
        statement(1).to_json().replace('"stable"', '"\\u001b"'),
        statement(1, expires=NOW).to_json(),
        statement(1).to_json().replace("lab", "\ud800"),
        statement(1).to_json() + "\udcff",
        statement(1).to_json().replace('"lab"', '"\\ud800"'),
        statement(1).to_json().replace("lab", "größe"),
    ],
)
def test_what_is_no_statement(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        ChannelStatement.from_json(text)
    assert type(caught.value) is ValueError or "JSON" in type(caught.value).__name__
