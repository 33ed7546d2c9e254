"""How long ago a generation was made: never longer than it was, whatever a clock does meanwhile."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from builder.model.generation import Generation
from builder.model.text.moment import Clock, Moment
from builder.store.inspection.ages import Age, ages, clock_fault
from tests.moments import DAY, moment

NOW = 1_800_000_000
VERSION = "20260102-0123abcd"


def generation(number: int, at: Moment | int) -> Generation:
    """Made at a moment, or at a time of which nothing else is known."""
    made, clock = (at.time, at.clock) if isinstance(at, Moment) else (at, None)
    return Generation(number, "192.168.1.1", "lab", {"lab": VERSION}, made, "", clock=clock)


def of_each(*made: Moment | int, now: Moment) -> list[Age]:
    """How long ago each was made, the oldest first."""
    found = ages([generation(number, at) for number, at in reversed(list(enumerate(made, 1)))], now)
    return [found[number] for number in sorted(found)]


@pytest.mark.parametrize("then", [-30 * DAY, 0, 30 * DAY])
@pytest.mark.parametrize("later", [-30 * DAY, 0, 30 * DAY])
@pytest.mark.parametrize("synchronised", [True, False])
def test_within_one_boot_no_clock_is_asked(then: int, later: int, synchronised: bool) -> None:
    made = moment(NOW + then, "a", 60, synchronised=synchronised)
    assert of_each(made, now=moment(NOW + later, "a", 960, synchronised=synchronised)) == [Age(900)]


def test_after_a_restart_two_synchronised_clocks_are_believed() -> None:
    assert of_each(moment(NOW, "a", 60), now=moment(NOW + 9 * DAY, "b", 30)) == [Age(9 * DAY)]


UNKNOWN: dict[str, tuple[Moment | int, Moment]] = {
    "is not synchronised, see timedatectl": (moment(NOW, "a", 1), moment(NOW + 30 * DAY, "b", 300, synchronised=False)),
    "was not synchronised when": (moment(NOW, "a", 1, synchronised=False), moment(NOW + 30 * DAY, "b", 300)),
    "does not say whether": (NOW, moment(NOW + 30 * DAY, "b", 300)),
    "is of a time to come": (moment(NOW + 30 * DAY, "a", 1), moment(NOW, "b", 300)),
    f"is of an earlier time than {VERSION}": (moment(86400, "a", 1), moment(NOW, "b", 300)),
}


@pytest.mark.parametrize("words", UNKNOWN)
def test_after_a_restart_one_clock_that_may_be_wrong_is_not(words: str) -> None:
    made, now = UNKNOWN[words]
    (age,) = of_each(made, now=now)
    assert age.doubt is not None
    assert words in age.doubt
    # this machine was started 300 seconds ago, and that was after it; of another machine nothing is known
    assert age.at_least == (300 if isinstance(made, Moment) else 0)
    elsewhere = Moment(now.time, Clock(now.clock.boot, "another", 300, now.clock.synchronised))
    assert of_each(made, now=elsewhere)[0].at_least == 0


def test_a_time_that_an_older_generation_contradicts_is_not_believed() -> None:
    first, second = of_each(moment(NOW, "a", 1), moment(NOW - 20 * DAY, "b", 1), now=moment(NOW + DAY, "c", 300))
    assert first == Age(DAY)
    assert second == Age(300, "generation 2 is of an earlier time than generation 1")


def test_what_is_known_of_a_newer_one_is_true_of_all_older_ones() -> None:
    wrong = moment(NOW - 900 * DAY, "a", 1, synchronised=False)
    first, second = of_each(wrong, moment(NOW, "b", 1), now=moment(NOW + 9 * DAY, "c", 300))
    assert second == Age(9 * DAY)
    assert (first.at_least, first.doubt is None) == (9 * DAY, False)


def test_one_clock_that_was_far_ahead_does_not_make_all_ages_unknown_for_years() -> None:
    ahead = moment(NOW + 3000 * DAY, "a", 1)
    assert of_each(ahead, moment(NOW, "b", 1), now=moment(NOW + 9 * DAY, "c", 300))[1] == Age(9 * DAY)


def test_a_machine_without_names_is_no_machine_that_is_known() -> None:
    nameless = Moment(NOW, Clock("", "", 500, False))
    assert of_each(nameless, now=Moment(NOW + 30 * DAY, Clock("", "", 400, False)))[0].at_least == 0


def test_the_clock_of_a_generation_that_is_made() -> None:
    one, two = generation(1, NOW), generation(2, NOW - 30 * DAY)
    assert clock_fault(one, []) is None
    assert clock_fault(two, [one]) == "generation 2 is of an earlier time than generation 1"
    assert clock_fault(generation(1, 0), []) == f"generation 1 is of an earlier time than {VERSION}"


# -- every way that a clock can jump


@dataclass(frozen=True)
class Step:
    """What happens until the next command: seconds pass, the machine may be started anew, the clock may be set."""

    passed: int
    restart: bool
    jump: int


def commands(steps: Sequence[Step]) -> Iterator[tuple[int, Moment]]:
    """The true time of a command after each step, and what the machine takes it for.

    A clock is held for synchronised while nobody sets it to another time than the true one.
    """
    truth, offset, boot, started = NOW, 0, 0, NOW - 1000
    for step in steps:
        truth, offset = truth + step.passed, offset + step.jump
        if step.restart:
            boot, started = boot + 1, truth - step.passed // 2
        yield truth, moment(truth + offset, f"boot {boot}", truth - started, synchronised=offset == 0)


def check(steps: Sequence[Step]) -> None:
    """Nothing is older than it is; with a clock that never jumped it is known how old."""
    seen = list(commands(steps))
    *made, (truth, now) = seen
    for (then, _), age in zip(made, of_each(*(at for _, at in made), now=now), strict=True):
        assert age.at_least <= truth - then, (steps, age)
        if not any(step.jump for step in steps):
            assert age == Age(truth - then), (steps, age)


@pytest.mark.parametrize("restarts", list(itertools.product([False, True], repeat=4)))
def test_a_clock_that_jumps_by_30_days_at_any_step(restarts: tuple[bool, ...]) -> None:
    """Three deploys and a prune, minutes or weeks apart; at each step the clock is set back, ahead, or put right."""
    for jumps in itertools.product((-30 * DAY, 0, 30 * DAY), repeat=4):
        for passed in (300, 20 * DAY):
            check([Step(passed, restart, jump) for restart, jump in zip(restarts, jumps, strict=True)])


def test_clocks_that_do_as_they_like() -> None:
    chance = random.Random(15)
    for _ in range(3000):
        jumps = (0, 0, 0, -DAY, DAY, -30 * DAY, 30 * DAY, chance.randint(-(10**8), 10**8))
        check(
            [
                Step(chance.choice((60, 3600, 5 * DAY, 50 * DAY)), chance.random() < 0.4, chance.choice(jumps))
                for _ in range(chance.randint(2, 9))
            ]
        )
