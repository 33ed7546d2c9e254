"""What a command is doing: steps that are named, nested and timed, measured work, notes and warnings.

A Progress hears of all of it and tells its reporters (reporters.py, terminal.py): people at a terminal, a log, or
programs. Results of commands belong on standard output, not here.
"""

from __future__ import annotations

import collections
import contextlib
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TextIO

from builder.errors import DisklessError
from builder.model.events import BYTES, Event, Failed, Measured, Note, Output, Result, StepEnd, StepStart, Warned
from builder.model.text.escapes import escaped
from builder.progress.reporters import Journal, Plain
from builder.progress.terminal import Terminal

_KEPT = "\n\t"
_REFRESH_SECONDS = 0.12
_REPORT_SECONDS = 0.5
_RATE_SECONDS = 8.0  # what the rate is taken over: steady enough to read, and yet of now
_YOUNG_SECONDS = 2.0  # before that, a rate is not a ground for a forecast


class Reporter(Protocol):
    """Shows events to somebody."""

    def handle(self, event: Event, seconds: float) -> None:
        """One event, `seconds` after the start."""
        ...

    def tick(self, text: str) -> None:
        """What is going on right now; forgotten when the next one comes."""
        ...

    def refresh(self, seconds: float) -> None:
        """Called several times a second while something is going on."""
        ...


class Task:
    """A measured piece of work: `done` of `total` (None: unknown) in bytes, or in whatever is counted."""

    def __init__(
        self,
        name: str,
        total: int | None,
        unit: str,
        *,
        measure: Callable[[], int] | None = None,
        counts: re.Pattern[str] | None = None,
    ) -> None:
        self.name = name
        self.total = total
        self.unit = unit
        self.counts = counts
        self._measure = measure
        self._done = 0
        self._began = time.monotonic()
        self._samples = collections.deque([(time.monotonic(), self.done)])

    @property
    def done(self) -> int:
        """How much is done."""
        if self._measure is not None:
            with contextlib.suppress(OSError):  # files come and go while they are looked at
                self._done = self._measure()
        return self._done

    def advance(self, amount: int = 1) -> None:
        """So much more is done."""
        self._done += amount

    def update(self, done: int) -> None:
        """So much is done in all."""
        self._done = done

    def event(self, *, finished: bool = False) -> Measured:
        """How far it is now."""
        now, done = time.monotonic(), self.done
        self._samples.append((now, done))
        while len(self._samples) > 2 and now - self._samples[0][0] > _RATE_SECONDS:
            self._samples.popleft()
        since, before = self._samples[0]
        rate = (done - before) / (now - since) if now > since and done > before else None
        known = self.total is not None and rate is not None and now - self._began >= _YOUNG_SECONDS
        left = max(0, (self.total or 0) - done) / rate if known and rate else None
        return Measured(self.name, done, self.total, self.unit, rate, left, finished)


class Progress:
    """Reports to `stream` (standard error) for people, and to `events` for programs.

    quiet: only warnings; verbose: also every command and what it prints
    events: gets one event a line, model/events.py; where it is `stream` itself, people's lines are left out
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        quiet: bool = False,
        verbose: bool = False,
        events: TextIO | None = None,
    ) -> None:
        stream = stream if stream is not None else sys.stderr
        self._reporters: list[Reporter] = []
        if events is not stream:
            self._reporters.append(_reporter_for(stream, quiet=quiet, verbose=verbose))
        if events is not None:
            self._reporters.append(Journal(events, verbose=verbose))
        self._verbose = verbose
        self._began = time.monotonic()
        self._lock = threading.RLock()
        self._open: list[str] = []
        self._tasks: list[Task] = []
        self._loose: list[tuple[int, Task]] = []  # (how deep the step is that ends it, the task)
        self._seconds: dict[str, float] = {}
        self._warnings: list[str] = []

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds that each finished top-level step took, in order."""
        return dict(self._seconds)

    @property
    def warnings(self) -> tuple[str, ...]:
        """All warnings so far."""
        return tuple(self._warnings)

    def state(self) -> dict[str, Any]:
        """What another process did with this, for `adopt`; of JSON's types."""
        return {"seconds": self._seconds, "warnings": self._warnings}

    def adopt(self, state: Mapping[str, Any]) -> None:
        """Goes on from where a forked process came, which has reported all of it already."""
        self._seconds = dict(state["seconds"])
        self._warnings = list(state["warnings"])

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Names and times what happens inside; an error that passes through learns which step it came from."""
        started, depth, ok = time.monotonic(), len(self._open), False
        with contextlib.nullcontext() if depth else self._refreshing():
            self._emit(StepStart(name, depth))
            self._open.append(name)
            try:
                yield
                ok = True
            except DisklessError as error:
                error.phase = error.phase or name
                raise
            finally:
                self._finish_loose()
                self._open.pop()
                elapsed = time.monotonic() - started
                if depth == 0:
                    self._seconds[name] = self._seconds.get(name, 0) + elapsed
                self._emit(StepEnd(name, depth, round(elapsed, 3), ok))

    @contextlib.contextmanager
    def task(
        self,
        name: str,
        total: int | None = None,
        unit: str = BYTES,
        *,
        measure: Callable[[], int] | None = None,
        counts: re.Pattern[str] | None = None,
    ) -> Iterator[Task]:
        """Work that can be measured, inside a step: call `advance` or `update` of what this gives.

        measure: is asked instead how much is done, from another thread; counts: a line of output that matches is one
        """
        task = Task(name, total, unit, measure=measure, counts=counts)
        with self._lock:
            self._tasks.append(task)
        self._emit(task.event())
        try:
            yield task
        finally:
            with self._lock:
                self._tasks.remove(task)
            self._emit(task.event(finished=True))

    def measure(self, name: str, done: int, total: int | None = None, unit: str = BYTES) -> None:
        """How far work of the running step is, said by any thread that knows it; forgotten when the step ends."""
        with self._lock:
            if not self._open:
                return
            task = next((task for task in self._tasks if task.name == name), None)
            if task is None:
                task = Task(name, total, unit)
                self._tasks.append(task)
                self._loose.append((len(self._open), task))
            task.total = total
            task.update(done)

    @contextlib.contextmanager
    def files(self, name: str, total: int) -> Iterator[Callable[[str], None]]:
        """Work on `total` files: call what this gives with the name of each."""
        with self.task(name, total, "files") as task:

            def count(path: str) -> None:
                task.advance()
                self.tick(path)

            yield count

    def note(self, text: str) -> None:
        """One line that stays; what a terminal would obey in names that others chose is escaped."""
        self._emit(Note(escaped(text, keep=_KEPT)))

    def warn(self, text: str) -> None:
        """One line that stays, also when quiet; escaped as a note is."""
        text = escaped(text, keep=_KEPT)
        self._warnings.append(text)
        self._emit(Warned(text))

    def tick(self, text: str) -> None:
        """What is going on right now: one line that the next one replaces; nothing where there is no terminal."""
        for reporter in self._reporters:
            reporter.tick(text)

    def output(self, line: str) -> None:
        """A command that is started, or a line of what it prints: as `tick`, but stays when verbose."""
        for task in self._tasks:
            if task.counts is not None and task.counts.search(line):
                task.advance()
        if self._verbose:
            self._emit(Output(line))
        else:
            self.tick(line)

    def result(self, result: Mapping[str, Any]) -> None:
        """The command's result, for programs that read the events; printing it is the command's own affair."""
        self._emit(Result(result))

    def fail(self, error: DisklessError) -> None:
        """The error that ends the command, for the same."""
        self._emit(Failed(error.message, error.hint, error.phase, error.details, error.exit_code))

    def _finish_loose(self) -> None:
        with self._lock:
            ended = [task for depth, task in self._loose if depth == len(self._open)]
            self._loose = [(depth, task) for depth, task in self._loose if task not in ended]
            for task in ended:
                self._tasks.remove(task)
                self._emit(task.event(finished=True))

    def _emit(self, event: Event) -> None:
        with self._lock:
            for reporter in self._reporters:
                reporter.handle(event, time.monotonic() - self._began)

    @contextlib.contextmanager
    def _refreshing(self) -> Iterator[None]:
        """Keeps clocks and measures moving while a command says nothing."""
        done = threading.Event()
        thread = threading.Thread(target=self._refresh, args=(done,), name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _refresh(self, done: threading.Event) -> None:
        reported = time.monotonic()
        while not done.wait(_REFRESH_SECONDS):
            now = time.monotonic()
            with self._lock:
                if now - reported >= _REPORT_SECONDS:
                    reported = now
                    for task in self._tasks:
                        self._emit(task.event())
                for reporter in self._reporters:
                    reporter.refresh(now - self._began)


def _reporter_for(stream: TextIO, *, quiet: bool, verbose: bool) -> Reporter:
    if not quiet and stream.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        return Terminal(stream, colour=not os.environ.get("NO_COLOR"), verbose=verbose)
    return Plain(stream, quiet=quiet)
