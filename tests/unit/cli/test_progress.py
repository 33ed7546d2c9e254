"""Progress, seen as people see it: on a terminal of some size, in a log, and as events."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import json
import os
import re
import struct
import termios
import threading
from collections.abc import Iterator
from typing import TextIO

import pyte
import pytest

from builder.errors import HostError
from builder.model.events import EVENTS, Measured, StepStart
from builder.model.text import quantity
from builder.progress.progress import Progress
from builder.progress.terminal import Terminal

_END = b"\x05"  # shown by no terminal


class Emulator:
    """A terminal that shows what is written to `stream`."""

    def __init__(self, columns: int, lines: int, encoding: str) -> None:
        self.master, slave = os.openpty()
        self._size(columns, lines)
        self.stream: TextIO = open(slave, "w", encoding=encoding)  # noqa: SIM115 - closed by the fixture
        self._screen = pyte.HistoryScreen(columns, lines, history=1000)
        self._feed = pyte.ByteStream(self._screen)
        self.raw = self._received = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def _read(self) -> None:
        try:
            while _END not in self._received:
                self._received += os.read(self.master, 65536)
        except OSError as error:
            if error.errno != errno.EIO:  # the other side is closed
                raise
        self.raw = self._received.partition(_END)[0]
        self._feed.feed(self.raw)

    def finish(self) -> None:
        """Not before its reader has ended: the next terminal may get the same number."""
        self.stream.close()
        self._reader.join()
        os.close(self.master)

    def lines(self) -> list[str]:
        """All that is to be seen once everything was written, scrolled out of sight or not."""
        while not self.stream.closed and self._reader.is_alive():
            # A master may miss what was written just before the other side is closed. Seen once: it was not woken up.
            self.stream.write(_END.decode())
            self.stream.flush()
            self._reader.join(10)
        self._reader.join()
        self.stream.close()
        kept = ["".join(line[x].data for x in range(self._screen.columns)) for line in self._screen.history.top]
        return [line.rstrip() for line in [*kept, *self._screen.display]]


@contextlib.contextmanager
def emulator(columns: int = 80, lines: int = 24, encoding: str = "utf-8") -> Iterator[Emulator]:
    terminal = Emulator(columns, lines, encoding)
    try:
        yield terminal
    finally:
        terminal.finish()


@pytest.fixture(autouse=True)
def _terminal_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


def work(progress: Progress) -> None:
    with progress.step("resolve"):
        progress.note("209 packages")
    with progress.step("install"):
        with progress.step("inside"):
            progress.tick("Setting up grüße ...")
            with progress.task("download", 1000) as task:
                task.advance(250)
        progress.warn("this is odd")


def without_times(lines: list[str]) -> list[str]:
    return [re.sub(r" +\d+\.\d s$", " TIME", line) for line in lines if line]


def test_what_stays_on_a_terminal() -> None:
    with emulator() as terminal:
        work(Progress(terminal.stream))
        assert without_times(terminal.lines()) == [
            "✓ resolve TIME",
            "    209 packages",
            "✓ install TIME",
            "    ✓ inside TIME",
            "    warning: this is odd",
        ]


@pytest.mark.parametrize("columns", [10, 20, 33, 80, 200])
@pytest.mark.parametrize("lines", [1, 4, 24])
def test_a_terminal_of_any_size_keeps_every_word_once(columns: int, lines: int) -> None:
    with emulator(columns, lines) as terminal:
        progress = Progress(terminal.stream)
        for _ in range(3):
            work(progress)
        seen = "".join(line.ljust(columns) for line in terminal.lines()).replace(" ", "")
        assert seen.count("209packages") == seen.count("thisisodd") == 3
        assert "download" not in seen


def test_an_error_marks_the_steps_that_it_ends() -> None:
    with emulator() as terminal:
        progress = Progress(terminal.stream)
        with pytest.raises(HostError) as caught, progress.step("install"), progress.step("inside"):
            progress.note("so far")
            raise HostError("no")
        assert caught.value.phase == "inside"
        assert without_times(terminal.lines()) == ["✗ install TIME", "    ✗ inside TIME", "        so far"]


def test_an_interrupt_leaves_a_clean_line() -> None:
    with emulator() as terminal:
        progress = Progress(terminal.stream)
        with pytest.raises(KeyboardInterrupt), progress.step("install"):
            progress.tick("Setting up dash ...")
            raise KeyboardInterrupt
        terminal.stream.write("error: interrupted\n")
        assert without_times(terminal.lines()) == ["✗ install TIME", "error: interrupted"]


def drawn(event: Measured, columns: int, encoding: str = "utf-8") -> list[str]:
    """What a terminal shows in the middle of measured work."""
    with emulator(columns, encoding=encoding) as terminal:
        reporter = Terminal(terminal.stream)
        reporter.handle(StepStart("fetch", 0), 0.0)
        reporter.tick("日本語" * 40)
        reporter.handle(event, 1.0)
        reporter.refresh(2.0)
        return [line for line in terminal.lines() if line]


HALF = Measured("download", 84_000_000, 168_000_000, "bytes", 12_000_000.0, 7.0, False)


def test_measured_work_has_a_bar_with_amount_rate_and_time() -> None:
    lines = drawn(HALF, 80)
    assert lines[1] == "    " + "━" * 14 + "─" * 14 + "  50%  84/168 MB  12 MB/s  7.0 s left"
    assert lines[2].startswith("    日本語")
    assert lines[2].endswith("…")


def test_a_narrow_terminal_shows_what_matters_most() -> None:
    assert drawn(HALF, 25)[1] == "    50%  7.0 s left"


def test_another_encoding_gets_plain_characters() -> None:
    lines = drawn(HALF, 80, encoding="ascii")
    assert lines[1] == "    " + "#" * 14 + "-" * 14 + "  50%  84/168 MB  12 MB/s  7.0 s left"
    assert all(line.isascii() for line in lines)


def test_lines_that_a_resize_wrapped_are_cleared() -> None:
    with emulator(80) as terminal:
        reporter = Terminal(terminal.stream)
        reporter._drawn = [79, 30]
        terminal._size(40, 24)
        assert reporter._erase() == "\r\x1b[2A\x1b[J"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_can_be_switched_off(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def written() -> bytes:
        with emulator() as terminal:
            work(Progress(terminal.stream))
            terminal.lines()
            return terminal.raw

    assert b"\x1b[32m" in written()
    monkeypatch.setenv(name, value)
    plain = written()
    assert b"\x1b[3" not in plain
    assert (b"\x1b" in plain) == (name == "NO_COLOR")


def test_text_cannot_steer_the_terminal() -> None:
    with emulator() as terminal:
        progress = Progress(terminal.stream)
        with progress.step("install"):
            progress.tick("\x1b[2J\x1b]0;title\x07")
            progress.note("a\x1b[31mb")
        assert "    a\\x1b[31mb" in terminal.lines()


def test_a_log_gets_plain_lines() -> None:
    stream = io.StringIO()
    work(Progress(stream))
    assert without_times(stream.getvalue().splitlines()) == [
        "resolve ...",
        "  209 packages",
        "resolve: TIME",
        "install ...",
        "  inside ...",
        "  inside: TIME",
        "warning: this is odd",
        "install: TIME",
    ]


def test_quiet_leaves_warnings_and_verbose_adds_output() -> None:
    quiet, verbose = io.StringIO(), io.StringIO()
    work(Progress(quiet, quiet=True))
    assert quiet.getvalue() == "warning: this is odd\n"
    progress = Progress(verbose, verbose=True)
    with progress.step("install"):
        progress.output("$ dpkg -i")
        progress.output("Unpacking")
    assert verbose.getvalue().splitlines()[1:3] == ["  $ dpkg -i", "  Unpacking"]


def events_of(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_events_say_all_that_happens() -> None:
    stream = io.StringIO()
    progress = Progress(stream, events=stream)
    work(progress)
    progress.fail(HostError("no", "yes", ("line",)))
    events = events_of(stream)
    assert [event["event"] for event in events if event["event"] != "progress"] == [
        "step-start", "note", "step-end", "step-start", "step-start", "step-end", "warning", "step-end", "error",
    ]  # fmt: skip
    measured = [event for event in events if event["event"] == "progress"]
    assert (measured[0]["done"], measured[-1]["done"], measured[-1]["finished"]) == (0, 250, True)
    assert all(kind["event"] in {event.kind for event in EVENTS} for kind in events)
    seconds = [float(str(event["seconds"])) for event in events]
    assert seconds == sorted(seconds)
    assert events[-1]["exit_status"] == 3


def test_lines_of_output_are_counted() -> None:
    stream = io.StringIO()
    progress = Progress(stream, events=stream)
    with progress.step("install"), progress.task("install", 2, "packages", counts=re.compile("^installing ")) as task:
        for line in ("installing a...", "checking", "installing b..."):
            progress.output(line)
        assert task.done == 2


def test_a_measure_is_asked_while_a_command_is_silent() -> None:
    stream = io.StringIO()
    progress = Progress(stream, events=stream)
    asked = threading.Event()
    seen = iter(range(1000))

    def measure() -> int:
        number = next(seen)
        if number >= 3:
            asked.set()
        return number

    with progress.step("fetch"), progress.task("download", 1000, measure=measure):
        assert asked.wait(30)
    done = [int(str(event["done"])) for event in events_of(stream) if event["event"] == "progress"]
    assert done == sorted(done)
    assert done[-1] >= 3


def test_work_that_is_reported_from_elsewhere_ends_with_its_step() -> None:
    stream = io.StringIO()
    progress = Progress(stream, events=stream)
    progress.measure("sent", 1, 10)
    with progress.step("upload"):
        with progress.step("check"):
            progress.measure("moved", 7)
        threads = [threading.Thread(target=progress.measure, args=("sent", done, 100)) for done in (40, 60)]
        for thread in threads:
            thread.start()
            thread.join()
    # how much was said in between is a matter of time
    ended = [event for event in events_of(stream) if event["event"] == "progress" and event["finished"]]
    assert [(event["name"], event["done"], event["total"]) for event in ended] == [
        ("moved", 7, None),
        ("sent", 60, 100),
    ]


def test_a_terminal_that_is_gone_ends_no_build() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", encoding="utf-8", buffering=1) as stream:
        work(Progress(stream))
        with contextlib.suppress(OSError):
            stream.close()


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (9_949_999, "9.9 MB"), (168_400_000, "168 MB"), (10**12, "1.0 TB")],
)
def test_bytes_as_people_read_them(size: int, text: str) -> None:
    assert quantity.format_bytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (59.4, "59 s"), (59.7, "1:00 min"), (3725, "1:02:05 h")]
)
def test_seconds_as_people_read_them(seconds: float, text: str) -> None:
    assert quantity.format_seconds(seconds) == text


@pytest.mark.parametrize("width", range(12))
def test_what_is_fitted_fits(width: int) -> None:
    for text in ("", "plain text", "日本語日本語", "e\u0301e\u0301e\u0301", "a\nb\x1b[0m"):
        assert quantity.count_cells(quantity.fit(text, width)) <= width
