"""A store whose clock jumped: what was booted lately stays, and the order of versions is not a clock's."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.deploy import prune
from builder.errors import HostError
from builder.model.generation import Generation
from builder.model.site import Site
from builder.model.version import Version
from builder.store.activation import activate
from builder.store.generations import active_generation
from builder.store.inspection.usage import InUse
from builder.store.inventory import read_inventory
from builder.store.layout import find_store
from builder.store.pruning import Decision, PruneOptions, decide
from tests.command import run_command
from tests.moments import DAY, later, moment
from tests.require import needs_root
from tests.scratch import new_place
from tests.stores import SERVER, active, deployed, named, quiet, version

pytestmark = [needs_root, pytest.mark.root]
Edit = Callable[[dict[str, Any]], object]


@pytest.fixture
def place() -> Path:
    """Two versions, the second deployed a moment ago: clients run the first."""
    place = new_place() / "store"
    deployed(place, version("1"), version("2"))
    return place


def edit(place: Path, number: int, change: Edit) -> None:
    """Leaves a generation as another clock would have."""
    path = place / f"boot/generations/{number:06}/generation.json"
    data = json.loads(path.read_text("utf-8"))
    change(data)
    path.write_text(json.dumps(data), encoding="utf-8")


def shifted(days: float) -> Edit:
    """Made by a clock that was wrong, before the machine was started the last time."""

    def change(data: dict[str, Any]) -> None:
        data["made"] += int(days * DAY)
        data["clock"].update(boot="another", synchronised=False)

    return change


def first_of(place: Path, **options: Any) -> Decision:
    """What a prune to one version does with the first."""
    decisions = prune(place, PruneOptions(keep=1, **options), quiet(), dry_run=True)
    return next(decision for decision in decisions if decision.version == version("1").name)


@pytest.mark.parametrize("days", [-30, 30])
def test_a_clock_that_was_wrong_at_the_deploy_makes_nothing_old(
    place: Path, days: int, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2):
        edit(place, number, shifted(days))
    command = ("prune", "--to", str(place), "--keep", "1", "--min-age", "3650d")
    status, out, errors = run_command(capsys, *command)
    assert status == HostError.exit_code
    assert f"refused lab {version('1').name}: clients may have booted it until " in out
    assert f"error: kept, though more than 1: lab {version('1').name}" in errors
    assert "--force takes what may be in use for unused" in errors
    assert ("lab", version("1").name) in named(place)
    status, out, _ = run_command(capsys, *command, "--force")
    assert status == 0
    assert f"removed lab {version('1').name}, although clients may have booted it until " in out
    assert named(place) == {("lab", version("2").name)}


def test_a_clock_that_is_wrong_now_makes_nothing_old(place: Path) -> None:
    """Minutes after the deploy, by a clock that is 30 days ahead: in the same boot, and after a restart."""
    inventory, generation = read_inventory(find_store(place)), active_generation(find_store(place))
    assert generation is not None
    assert generation.clock is not None
    ahead = later(30).time
    here = dataclasses.replace(later(0), time=ahead)
    restarted = moment(ahead, "another", 60, synchronised=False, machine=generation.clock.machine)
    for now in (here, restarted):
        decided = decide(inventory, Site(server=SERVER), PruneOptions(keep=1), InUse(), now)
        assert [decision.refused for decision in decided if decision.ground != "active"] == [True]


def test_an_age_that_is_known_to_be_too_young_is_no_failure(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is what was asked for; the next prune sees to it."""
    status, out, _ = run_command(capsys, "prune", "--to", str(place), "--keep", "1")
    assert status == 0
    assert f"refused lab {version('1').name}: clients booted it until " in out


def test_a_store_of_another_time_is_unknown_and_not_old(place: Path) -> None:
    """As 0.1 made them: nothing is known of the clock."""
    for number in (1, 2):
        edit(place, number, lambda data: [data.pop("clock"), data.update(made=data["made"] - 300 * DAY)])
    assert first_of(place).unmet
    assert first_of(place, minimum_age=0).ground is None


def test_which_versions_are_the_last_is_no_matter_of_clocks(place: Path) -> None:
    """The third was active last, though a clock that was 30 days behind says that the first was."""
    deployed(place, version("3"), version("4"))
    for number in (3, 4):
        edit(place, number, shifted(-30))
    decided = prune(place, PruneOptions(keep=2, minimum_age=0), quiet(), dry_run=True)
    assert [(decision.version, decision.ground) for decision in decided] == [
        (version("4").name, "active"),
        (version("3").name, "kept"),
        (version("2").name, None),
        (version("1").name, None),
    ]


def test_a_version_that_was_never_active_is_as_old_as_the_menus_that_named_it_first(place: Path) -> None:
    """However old its directory claims to be."""
    deployed(place, version("3"), activate=False)
    deployed(place, version("4"))
    os.utime(place / "versions/lab" / version("3").name, (1, 1))
    options = PruneOptions(keep=1, minimum_age=7 * DAY)
    for days, goes in ((6.9, False), (7.1, True)):
        found = decide(read_inventory(find_store(place)), Site(server=SERVER), options, InUse(), later(days))
        (third,) = (decision for decision in found if decision.version == version("3").name)
        assert (third.ground is None) is goes


def test_what_a_generation_knows_of_its_clock(place: Path) -> None:
    store, now = find_store(place), moment(1_900_000_000, "boot", 77)
    (place / "site.yml").write_text(f"server: {SERVER}\ncmdline: [quiet]\n", encoding="ascii")
    done = activate(read_inventory(store), Site(server=SERVER, cmdline=("quiet",)), {}, "a test", now)
    assert (done.made, done.clock) == (now.time, now.clock)
    text = (place / "boot/current/generation.json").read_text("utf-8")
    assert Generation.from_json(text) == done
    # machine-id(5): it is not to be told to others, and TFTP serves this file
    machine = Path("/etc/machine-id")
    assert not machine.exists() or machine.read_text("ascii").strip() not in text


def test_a_deploy_says_that_the_clock_is_behind(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(place, 2, lambda data: data.update(made=int(time.time()) + 30 * DAY))
    status, _, errors = run_command(capsys, "deploy", str(version("3")), "--to", str(place), "-q")
    assert status == 0
    assert "generation 3 is of an earlier time than generation 2: this server's clock is wrong, or was" in errors
    assert active(place) == Version(version("3").name)
