"""An operator's decision is kept: a channel does not bring back what somebody went back from."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from builder.deploy import Deployed, DeployOptions, deploy, rollback
from builder.errors import InputError
from builder.output.offer import Asked, offer_directory
from builder.store.records.holds import HOLDS, read_holds
from tests.command import run_command
from tests.require import needs_root
from tests.scratch import new_place
from tests.stores import SERVER, active, deployed, quiet, version

pytestmark = [needs_root, pytest.mark.root]
ONE, TWO, THREE = (version(number) for number in "123")


@pytest.fixture
def place() -> Path:
    place = new_place() / "store"
    deployed(place, ONE, TWO)
    return place


def by_channel(place: Path, directory: Path) -> Deployed:
    """As the timer does: a reference that names a channel, whatever it means now."""
    asked = Asked.by_name("oci://registry.example/lab:stable", "stable")
    offer = dataclasses.replace(offer_directory(directory), asked=asked)
    return deploy(offer, place, DeployOptions(server=SERVER), quiet())


def test_a_channel_does_not_undo_a_rollback(place: Path) -> None:
    rollback(place, "lab", None, quiet())
    for _ in range(3):
        done = by_channel(place, TWO)
        assert active(place) == ONE.name
        assert done.held is not None
        assert done.held.reason == f"rollback lab {ONE.name}"
    assert by_channel(place, THREE).held is None
    assert active(place) == THREE.name
    # it moved on, and back
    assert by_channel(place, TWO).held is None
    assert active(place) == TWO.name


@pytest.mark.parametrize("says_so", ["by name", "rollback", "the version itself"])
def test_whoever_says_so_ends_it(says_so: str, place: Path) -> None:
    rollback(place, "lab", None, quiet())
    if says_so == "rollback":
        rollback(place, "lab", None, quiet())
    elif says_so == "by name":
        rollback(place, "lab", TWO.name, quiet())
    else:
        deployed(place, TWO)
    assert read_holds(place).held == {}
    assert by_channel(place, TWO).held is None
    assert active(place) == TWO.name


def test_each_image_has_its_own(place: Path) -> None:
    deployed(place, version("1", image="work"), version("2", image="work"))
    rollback(place, "lab", None, quiet())
    rollback(place, "work", None, quiet())
    assert set(read_holds(place).held) == {"lab", "work"}
    by_channel(place, THREE)
    assert set(read_holds(place).held) == {"work"}


def test_a_further_rollback_holds_what_was_left_last(place: Path) -> None:
    deployed(place, THREE)
    rollback(place, "lab", TWO.name, quiet())
    rollback(place, "lab", ONE.name, quiet())
    assert [hold.version for hold in read_holds(place).held["lab"]] == [THREE.name, TWO.name]
    for directory in (TWO, THREE):
        assert by_channel(place, directory).held is not None
    rollback(place, "lab", TWO.name, quiet())
    assert [hold.version for hold in read_holds(place).held["lab"]] == [THREE.name]
    assert by_channel(place, THREE).held is not None
    assert active(place) == TWO.name


def test_status_and_deploy_say_it(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rollback(place, "lab", None, quiet())
    status, output, _ = run_command(capsys, "status", "--to", str(place))
    assert status == 0
    assert f"hold: no channel brings {TWO.name} back (rollback lab {ONE.name})" in output
    held = json.loads(run_command(capsys, "status", "--to", str(place), "--json")[1])["holds"]
    assert held == {"lab": [{"version": TWO.name, "reason": f"rollback lab {ONE.name}"}]}
    by_channel(place, THREE)
    assert "hold" not in run_command(capsys, "status", "--to", str(place))[1]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"schema": 2}', '{"schema": 1, "held": {"lab": {"version": "x", "reason": ""}}}']
)
def test_a_damaged_file_is_an_error(text: str, place: Path) -> None:
    (place / HOLDS).write_text(text, "utf-8")
    with pytest.raises(InputError, match=HOLDS):
        rollback(place, "lab", None, quiet())
    assert active(place) == TWO.name
