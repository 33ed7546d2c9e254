"""The time, and what tells how much of it has passed whatever a clock says: clocks are set, by people and by NTP."""

from __future__ import annotations

import ctypes
import hashlib
import time
from pathlib import Path

from builder.model.text.moment import Clock, Moment

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_MACHINE = Path("/etc/machine-id")
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_libc = ctypes.CDLL(None, use_errno=True)


def read_moment() -> Moment:
    """Now. The names of boot and machine are digests: they are for nobody else, machine-id(5)."""
    uptime = int(time.clock_gettime(time.CLOCK_BOOTTIME))
    return Moment(int(time.time()), Clock(_digest(_BOOT), _digest(_MACHINE), uptime, is_synchronised()))


def is_synchronised() -> bool:
    """Whether the kernel says so, as timedatectl(1) tells: chrony, ntpd and systemd-timesyncd tell the kernel."""
    asked = ctypes.create_string_buffer(512)  # struct timex is smaller everywhere; modes of 0 change nothing
    state: int = _libc.adjtimex(asked)
    return 0 <= state < _TIME_ERROR


def _digest(path: Path) -> str:
    """Empty where there is no such file."""
    try:
        text = path.read_bytes().strip()
    except OSError:
        return ""
    return hashlib.sha256(b"diskless" + text).hexdigest()[:16] if text else ""
