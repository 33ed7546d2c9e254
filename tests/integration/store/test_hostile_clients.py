"""Whatever a client leaves in its read-write root or beside it: every command about another image works as before, and
nothing outside of the store is read or changed.

DISKLESS_TEST_SEED and DISKLESS_TEST_SECONDS choose what is left, and for how long; a failure says the seed.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.errors import DisklessError
from builder.store.inspection.verification import verify
from builder.store.layout import find_store
from builder.system.guarded.removal import remove_tree
from tests.hostile import Client, chosen_seconds, chosen_seed, telling_seed
from tests.races import COMMANDS, DESK, LAB, OTHER, Watched, goes_on, make_arena, without_waiting
from tests.require import needs_root
from tests.stores import active, version

pytestmark = [needs_root, pytest.mark.root]


@pytest.fixture(autouse=True)
def _without_waiting() -> Iterator[None]:
    with without_waiting():
        yield


def survive(seed: int) -> list[str]:
    """What went wrong after one client."""
    chance = random.Random(seed)
    arena = make_arena("image")
    arena.link.unlink()
    client = Client(arena.target, arena.outside, chance)
    watched = Watched(arena.outside)
    client.act()
    try:
        wrong = [what for name in chance.sample(list(COMMANDS), len(COMMANDS)) for what in run(name, arena.place)]
        wrong += [*goes_on(arena.place), *watched.touched()]
    finally:
        client.release()
        remove_tree(arena.place.parent)
    return [f"{what} (after {', '.join(client.done)})" for what in wrong]


def run(name: str, place: Path) -> list[str]:
    is_of_another, command = COMMANDS[name]
    try:
        command(place)
    except DisklessError as error:
        return [f"{name}: {error!r}"] if is_of_another else []
    except Exception as error:
        return [f"{name}: {error!r}"]
    return []


def survive_many(seconds: float) -> None:
    seed = chosen_seed()
    began, count = time.monotonic(), 0
    while not count or time.monotonic() - began < seconds:
        with telling_seed(seed + count):
            assert survive(seed + count) == []
        count += 1


def test_what_a_client_leaves() -> None:
    survive_many(chosen_seconds(10))


@pytest.mark.full
def test_what_many_clients_leave() -> None:
    survive_many(chosen_seconds(1200))


@pytest.mark.parametrize("what", ["link", "dangling link", "file", "fifo", "nothing"])
@pytest.mark.parametrize("level", ["image", "version", "root"])
def test_each_thing_above_a_root(level: str, what: str) -> None:
    """All commands about other images work, and `verify` says what there is."""
    arena = make_arena(level)
    arena.link.unlink()
    arena.target.rename(arena.place.parent / "away")
    if what.endswith("link"):
        arena.target.symlink_to(arena.outside if what == "link" else "/nowhere")
    elif what == "file":
        arena.target.touch()
    elif what == "fifo":
        os.mkfifo(arena.target)
    watched = Watched(arena.outside)
    names = [find.where for find in verify(find_store(arena.place))]
    if what == "nothing":
        assert any(where.startswith(f"{DESK} ") for where in names)
    else:
        assert str(arena.target) in names
    for is_of_another, command in COMMANDS.values():
        if is_of_another:
            command(arena.place)
    assert (active(arena.place, LAB), active(arena.place, OTHER)) == (
        version("2", LAB).name,
        version("2", OTHER, "rw").name,
    )
    assert goes_on(arena.place) == []
    assert watched.touched() == []
