"""Progress for logs and for programs: plain lines, and lines of JSON."""

from __future__ import annotations

import contextlib
from typing import TextIO

from builder.model.events import Event, Measured, Note, Output, StepEnd, StepStart, Warned, to_line
from builder.model.text.quantity import format_amount

_PLAIN_SECONDS = 20.0


class Plain:
    """One line an event, indented by the steps around it: for logs, pipes and dumb terminals."""

    def __init__(self, stream: TextIO, *, quiet: bool = False) -> None:
        self._stream = stream
        self._quiet = quiet
        self._depth = 0
        self._measured: dict[str, float] = {}

    def handle(self, event: Event, seconds: float) -> None:
        """Writes what is worth a line."""
        if isinstance(event, Warned):
            write(self._stream, f"warning: {event.text}\n")
        elif self._quiet:
            return
        elif isinstance(event, StepStart):
            self._print(event.depth, f"{event.name} ...")
            self._depth = event.depth + 1
        elif isinstance(event, StepEnd):
            self._depth = event.depth
            self._measured.clear()
            if event.ok:
                self._print(event.depth, f"{event.name}: {event.took:.1f} s")
        elif isinstance(event, Note | Output):
            self._print(self._depth, event.text)
        elif isinstance(event, Measured):
            self._measure(event, seconds)

    def tick(self, text: str) -> None:
        """Nothing: a log keeps every line."""

    def refresh(self, seconds: float) -> None:
        """Nothing moves."""

    def _measure(self, event: Measured, seconds: float) -> None:
        """Long work gets a line from time to time."""
        since = self._measured.setdefault(event.name, seconds)
        if not event.finished and seconds - since >= _PLAIN_SECONDS:
            self._measured[event.name] = seconds
            self._print(self._depth, f"{event.name}: {format_amount(event.done, event.total, event.unit)}")

    def _print(self, depth: int, text: str) -> None:
        write(self._stream, f"{'  ' * depth}{text}\n")


class Journal:
    """Lines of JSON, model/events.py."""

    def __init__(self, stream: TextIO, *, verbose: bool = False) -> None:
        self._stream = stream
        self._verbose = verbose

    def handle(self, event: Event, seconds: float) -> None:
        """Writes every event."""
        write(self._stream, to_line(event, seconds))

    def tick(self, text: str) -> None:
        """Nothing: only for eyes."""

    def refresh(self, seconds: float) -> None:
        """Nothing moves."""


def write(stream: TextIO, text: str) -> None:
    """Writes and flushes, whatever the encoding; a terminal that is gone ends no build."""
    encoding = stream.encoding or "utf-8"
    with contextlib.suppress(OSError):
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding, "replace"))
        stream.flush()
