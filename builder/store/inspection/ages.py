"""How long ago generations were made: what has passed for certain, since a clock that jumps makes nothing old.

Clocks are set back and ahead: by people, by NTP, by a battery that is empty. What cannot be set is the time since the
machine was started, and what came after what. So a time of the clock counts only where the kernel held the clock for
synchronised then and does so now, and where no other time contradicts it. What is not known is not old.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from builder.model.generation import Generation
from builder.model.text.moment import Moment


@dataclass(frozen=True)
class Age:
    """How long ago something was.

    at_least: seconds that have passed for certain; doubt: why it may be longer ago, None where it is just that
    """

    at_least: int
    doubt: str | None = None


def ages(generations: Sequence[Generation], now: Moment) -> Mapping[int, Age]:
    """How long ago each was made, by its number; they are given newest first.

    An older one was made before a newer one, whatever their times say: it is no younger.
    """
    found: dict[int, Age] = {}
    at_least = 0
    for position, generation in enumerate(generations):
        age = _age(generation, generations[position + 1 :], now)
        at_least = max(at_least, age.at_least)
        found[generation.number] = Age(at_least, age.doubt)
    return found


def clock_fault(generation: Generation, older: Sequence[Generation]) -> str | None:
    """What its time contradicts: a generation that was there before it, or a version that it boots; None: nothing."""
    made = time.strftime("%Y%m%d", time.gmtime(generation.made))
    newest = max(older, key=lambda other: other.made, default=None)
    if newest is not None and newest.made > generation.made:
        return f"generation {generation.number} is of an earlier time than generation {newest.number}"
    versions = [name for name in generation.active.values() if name[:8] > made]
    return f"generation {generation.number} is of an earlier time than {versions[0]}" if versions else None


def _age(generation: Generation, older: Sequence[Generation], now: Moment) -> Age:
    clock = generation.clock
    if clock is not None and clock.boot and clock.boot == now.clock.boot:
        return Age(max(0, now.clock.uptime - clock.uptime))
    certain = 0
    if clock is not None and clock.boot and now.clock.boot and clock.machine and clock.machine == now.clock.machine:
        certain = now.clock.uptime  # it was made before this machine was started the last time
    doubt = _doubt(generation, older, now)
    return Age(certain, doubt) if doubt else Age(max(certain, now.time - generation.made))


def _doubt(generation: Generation, older: Sequence[Generation], now: Moment) -> str | None:
    """Why the time between a generation and now is not what the clock says."""
    if not now.clock.synchronised:
        return "this server's clock is not synchronised, see timedatectl"
    if generation.clock is None:
        return f"generation {generation.number} does not say whether the clock was right when it was made"
    if not generation.clock.synchronised:
        return f"the clock was not synchronised when generation {generation.number} was made"
    if generation.made > now.time:
        return f"generation {generation.number} is of a time to come"
    trusted = [one for one in older if one.clock is not None and one.clock.synchronised and one.made <= now.time]
    return clock_fault(generation, trusted)
