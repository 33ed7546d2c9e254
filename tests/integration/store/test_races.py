"""A directory above a root becomes a link while a command works: nothing outside of the store is read or changed, and
no other image notices.

DISKLESS_TEST_SEED and DISKLESS_TEST_SECONDS choose what is tried, and for how long; a failure says the seed.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import random
import time
from collections.abc import Iterator

import pytest

from builder.errors import DisklessError
from tests.hostile import chosen_seconds, chosen_seed, telling_seed
from tests.races import (
    COMMANDS,
    LEVELS,
    Watched,
    chosen_cases,
    disturbed_at,
    goes_on,
    make_arena,
    racing,
    record_sites,
    without_waiting,
)
from tests.require import needs_root

pytestmark = [needs_root, pytest.mark.root]


@pytest.fixture(autouse=True)
def _without_waiting() -> Iterator[None]:
    with without_waiting():
        yield


def test_a_link_that_comes_and_goes_between_two_calls() -> None:
    """Of all commands, levels and calls a few that a seed chooses; `make test-full` tries all."""
    seed, seconds = chosen_seed(), chosen_seconds(8)
    began = time.monotonic()
    for count, (command, level, number, stays) in enumerate(chosen_cases(seed)):
        if count and time.monotonic() - began > seconds:
            break
        with telling_seed(seed):
            assert disturbed_at(command, level, number, stays=stays) == []


@pytest.mark.full
@pytest.mark.parametrize("command", COMMANDS)
def test_a_link_that_comes_and_goes_before_any_call(command: str) -> None:
    """Each call once, the level and whether the link stays by a seed."""
    seed = chosen_seed()
    chance = random.Random(seed)
    spawn = multiprocessing.get_context("spawn")
    with telling_seed(seed), concurrent.futures.ProcessPoolExecutor(2, mp_context=spawn) as pool:
        pending = [
            pool.submit(disturbed_at, command, chance.choice(list(LEVELS)), number, stays=chance.random() < 0.5)
            for number in record_sites(command, "root")
        ]
        assert [wrong for future in pending for wrong in future.result()] == []


@pytest.mark.parametrize("level", LEVELS)
def test_a_process_that_exchanges_all_the_time(level: str) -> None:
    seed, seconds = chosen_seed(), chosen_seconds(5)
    arena = make_arena(level)
    watched = Watched(arena.outside)
    began, count = time.monotonic(), 0
    with telling_seed(seed), racing(arena, seed):
        while count < len(COMMANDS) or time.monotonic() - began < seconds:
            is_of_another, run = COMMANDS[list(COMMANDS)[count % len(COMMANDS)]]
            count += 1
            try:
                run(arena.place)
            except DisklessError:
                assert not is_of_another
    with telling_seed(seed):
        assert watched.touched() == []
    arena.restore()
    assert goes_on(arena.place) == []
    assert os.path.lexists(arena.outside / ".tmp-precious/file")
