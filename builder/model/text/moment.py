"""A moment, with what tells how long ago it was, whatever clocks say meanwhile."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """What is known of a clock at a moment.

    boot, machine: digests that name the boot and the machine, empty where nothing does; uptime: seconds since that
    boot, which nobody can set; synchronised: whether the kernel held the time for right
    """

    boot: str
    machine: str
    uptime: int
    synchronised: bool


@dataclass(frozen=True)
class Moment:
    """time: seconds since 1970, as the clock says."""

    time: int
    clock: Clock
