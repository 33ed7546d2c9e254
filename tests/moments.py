"""Moments that a test chooses: this machine, some time from now, or any other."""

from __future__ import annotations

import dataclasses

from builder.model.text.moment import Clock, Moment
from builder.system.clock import read_moment

DAY = 86400


def later(days: float) -> Moment:
    """So many days from now, on this machine without a restart."""
    now, seconds = read_moment(), int(days * DAY)
    return Moment(now.time + seconds, dataclasses.replace(now.clock, uptime=now.clock.uptime + seconds))


def moment(time: int, boot: str, uptime: int, *, synchronised: bool = True, machine: str = "machine") -> Moment:
    """What the clock says, in which boot, how long after its beginning."""
    return Moment(time, Clock(boot, machine, uptime, synchronised))
