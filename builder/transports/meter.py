"""Counting the bytes of a transfer that several threads make, and showing rate and remaining time."""

from __future__ import annotations

import threading
import time

from builder.system.progress import Progress


class Meter:
    """Bytes that went over the line; shown where it is known how many are to."""

    def __init__(self, progress: Progress, verb: str) -> None:
        self.moved = 0
        self._progress = progress
        self._verb = verb
        self._total = 0
        self._started = time.monotonic()
        self._lock = threading.Lock()

    def expect(self, count: int) -> None:
        """So many bytes more are to be moved."""
        with self._lock:
            self._total += count

    def add(self, count: int) -> None:
        """So many bytes were moved."""
        with self._lock:
            self.moved += count
            if self._total > 0:
                self._progress.tick(describe(self._verb, self.moved, self._total, time.monotonic() - self._started))


def describe(verb: str, moved: int, total: int, seconds: float) -> str:
    """`sent 12.0 of 48.0 MB, 6.0 MB/s, 6 s left`; megabytes are a million bytes."""
    rate = moved / seconds if seconds > 0 else 0.0
    if not 0 < moved <= total:
        return f"{verb} {moved / 1e6:.1f} MB, {rate / 1e6:.1f} MB/s"
    left = (total - moved) / rate if rate > 0 else 0.0
    return f"{verb} {moved / 1e6:.1f} of {total / 1e6:.1f} MB, {rate / 1e6:.1f} MB/s, {duration(left)} left"


def duration(seconds: float) -> str:
    """`42 s`, `3 min 20 s`, `1 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
