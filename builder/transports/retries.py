"""Trying again: what passes by itself, how long to wait, and when to give up."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeVar

from builder.errors import AuditError, DisklessError, TransferError

# RFC 9110 and 6585; 507 (a full disk) and 501 do not pass by themselves
PASSING_STATUSES = (408, 425, 429, 500, 502, 503, 504)
LONGEST_RETRY_AFTER = 300.0
_LONG_WAIT = 2.0
T = TypeVar("T")


class PassingError(DisklessError):
    """Something that may be gone at the next attempt; `retry_after` (seconds) is the server's wish."""

    retry_after = 0.0


class BrokenTransferError(PassingError, TransferError):
    """A connection that ended, a server that was busy."""

    exit_code = TransferError.exit_code


class DamagedTransferError(PassingError, AuditError):
    """What arrived is not what was asked for."""

    exit_code = AuditError.exit_code


@dataclass(frozen=True)
class Retries:
    """How often and how long: `attempts` in a row without progress; delays double from `first` to `longest` seconds.

    tell: hears of every longer wait
    """

    attempts: int = 6
    first: float = 0.5
    longest: float = 30.0
    tell: Callable[[str], None] = lambda text: None

    def delay(self, failures: int) -> float:
        """Seconds to wait after so many failures: random, so that many clients do not come back at once."""
        return min(self.longest, self.first * 2.0 ** min(failures - 1, 60)) * random.uniform(0.5, 1.0)


def persist(
    action: Callable[[], T],
    retries: Retries,
    mark: Callable[[], Hashable] = lambda: None,
    stop: threading.Event | None = None,
) -> T:
    """Calls `action` until it returns; a PassingError is raised on only after all attempts.

    mark: tells how far it came; where that changed since the last fault, the count begins again
    stop: set by another thread that failed; waiting ends then
    """
    failures, last = 0, mark()
    while True:
        try:
            return action()
        except PassingError as fault:
            now = mark()
            failures, last = (1 if now != last else failures + 1), now
            if failures >= retries.attempts or fault.retry_after > LONGEST_RETRY_AFTER:
                raise
            seconds = max(retries.delay(failures), fault.retry_after)
            if seconds >= _LONG_WAIT:
                retries.tell(f"{fault.message}; again in {seconds:.0f} s")
            _wait(seconds, stop)
            if stop is not None and stop.is_set():
                raise


def _wait(seconds: float, stop: threading.Event | None) -> None:
    if stop is None:
        time.sleep(seconds)
    else:
        stop.wait(seconds)
