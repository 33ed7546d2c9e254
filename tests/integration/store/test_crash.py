"""A deploy, rollback, prune or refresh that is stopped, or fails, at any system call: old or new, and never in between.

`make test` stops at one call of each kind, `make test-full` at every call, and makes every call fail in two ways.
"""

from __future__ import annotations

import concurrent.futures
import functools
import multiprocessing
from collections.abc import Iterable

import pytest

from tests.crash import EDQUOT, EIO, ENOSPC, KILL, Call, Scenario, disturb, make_scenarios, namings, record_calls, sites
from tests.require import needs_root, needs_tool
from tests.scratch import new_place
from tests.stores import version

pytestmark = [needs_root, needs_tool("strace"), pytest.mark.root]
STORAGE = ("storage", "end of the old exports")
NAMES = (
    "first",
    *(
        f"{mode} {what}"
        for mode in ("overlay", "rw", "shared overlay", "shared rw")
        for what in ("deploy", "deploy again", "rollback", "prune")
    ),
    "loaders",
    *STORAGE,
    "refresh",
)


@functools.cache
def scenarios() -> dict[str, Scenario]:
    versions = {mode: {number: version(number, mode=mode) for number in "123"} for mode in ("overlay", "rw")}
    return {scenario.name: scenario for scenario in make_scenarios(new_place(), versions)}


@functools.cache
def calls_of(name: str) -> list[Call]:
    return record_calls(scenarios()[name])


def disturbed(name: str, cases: Iterable[tuple[Call, str]]) -> list[str]:
    """Everything that went wrong, two cases at a time."""
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=spawn) as pool:
        pending = [pool.submit(disturb, scenarios()[name], call, injection) for call, injection in cases]
        return [wrong for future in pending if (wrong := future.result()) is not None]


def test_every_scenario_is_tested() -> None:
    assert set(scenarios()) == set(NAMES)


def test_a_deploy_makes_the_calls_that_are_disturbed() -> None:
    """What strace sees is what a deploy does: one syncfs before the version's name, one rename of `current`."""
    lines = [f"{call.name} {call.what}" for call in calls_of("overlay deploy")]
    name = f'/versions/lab>, "{version("2").name}")'
    names = [place for place, line in enumerate(lines) if line.startswith("renameat") and line.endswith(name)]
    syncs = [place for place, line in enumerate(lines) if line.startswith("syncfs")]
    commits = [place for place, line in enumerate(lines) if line.startswith("rename") and '"/boot/current")' in line]
    assert (len(names), len(syncs), len(commits)) == (1, 1, 1)
    assert syncs < names < commits
    assert lines[commits[0] + 1].startswith("fsync")


@pytest.mark.parametrize(
    "name", ["overlay deploy", "shared overlay deploy", "shared rw deploy", "shared rw prune", *STORAGE]
)
def test_stopped_where_something_gets_or_loses_its_name(name: str) -> None:
    assert disturbed(name, [(call, KILL) for call in namings(calls_of(name))]) == []


def test_a_sync_that_fails_is_never_swallowed() -> None:
    failing = [call for call in sites(calls_of("overlay deploy")) if call.is_sync]
    assert failing
    assert disturbed("overlay deploy", [(call, EIO) for call in failing]) == []


def test_a_full_quota_stops_no_rollback() -> None:
    """Begun anew it goes back once, not twice."""
    commits = [call for call in calls_of("overlay rollback") if call.name in ("mkdir", "symlink", "rename", "fsync")]
    assert disturbed("overlay rollback", [(call, EDQUOT) for call in commits]) == []


def test_a_full_disk_stops_no_prune() -> None:
    assert disturbed("rw prune", [(call, ENOSPC) for call in namings(calls_of("rw prune"))]) == []


@pytest.mark.full
@pytest.mark.parametrize("name", NAMES)
def test_stopped_at_any_call(name: str) -> None:
    assert disturbed(name, [(call, KILL) for call in calls_of(name)]) == []


@pytest.mark.full
@pytest.mark.parametrize("injection", [ENOSPC, EDQUOT, EIO])
@pytest.mark.parametrize("name", NAMES)
def test_any_kind_of_call_fails(name: str, injection: str) -> None:
    assert disturbed(name, [(call, injection) for call in sites(calls_of(name))]) == []
