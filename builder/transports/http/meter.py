"""Counting the bytes of a transfer that several threads make, and showing them."""

from __future__ import annotations

import threading

from builder.progress.progress import Progress


class Meter:
    """Bytes that went over the line; shown where it is known how many are to."""

    def __init__(self, progress: Progress, verb: str) -> None:
        self.moved = 0
        self._progress = progress
        self._verb = verb
        self._total = 0
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
                # what was sent twice may be more than what was to be sent
                self._progress.measure(self._verb, self.moved, max(self.moved, self._total))
