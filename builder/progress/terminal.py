"""Progress on a terminal: the steps so far, and below them what is going on, drawn anew several times a second.

Only the lines at the bottom are ever drawn over; whatever stays is printed once, so that scrolling back, copying and
resizing work. Nothing is hidden or switched that would have to be switched back after a kill.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TextIO

from builder.model.events import Event, Measured, Note, Output, StepEnd, StepStart, Warned
from builder.model.text.quantity import count_cells, fit, format_amount, format_rate, format_seconds, printable
from builder.progress.reporters import write

_DRAW_SECONDS = 0.1
_NAME_WIDTH = 12
_BAR_WIDTH = 28
_STYLES = {"good": "32", "bad": "31", "warning": "33", "faint": "2", "name": "1", "moving": "36"}


@dataclass(frozen=True)
class Symbols:
    """What lines are drawn with."""

    good: str
    bad: str
    moving: str
    full: str
    empty: str
    ellipsis: str


FANCY = Symbols("✓", "✗", "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "━", "─", "…")
ASCII = Symbols("+", "x", "|/-\\", "#", "-", "~")


@dataclass
class _Step:
    """An open step and the lines that stay below it: (style, text)."""

    name: str
    depth: int
    began: float
    lines: list[tuple[str, str]] = field(default_factory=list)


class Terminal:
    """The reporter for people who watch."""

    def __init__(self, stream: TextIO, *, colour: bool = True, verbose: bool = False) -> None:
        self._stream = stream
        self._colour = colour
        self._verbose = verbose
        self._symbols = FANCY if _can_show(stream, "".join(vars(FANCY).values())) else ASCII
        self._steps: list[_Step] = []
        self._measured: dict[str, Measured] = {}
        self._doing = ""
        self._drawn: list[int] = []  # the columns that each line at the bottom takes
        self._drawn_at = 0.0

    def handle(self, event: Event, seconds: float) -> None:
        """Prints what stays, once its step has ended, and draws the rest anew."""
        if isinstance(event, StepStart):
            self._steps.append(_Step(event.name, event.depth, seconds))
            self._doing = ""
        elif isinstance(event, StepEnd):
            self._end(event)
        elif isinstance(event, Note):
            self._add("", event.text)
        elif isinstance(event, Warned):
            self._add("warning", f"warning: {event.text}")
        elif isinstance(event, Output):
            self._print([("faint", event.text)])
        elif isinstance(event, Measured):
            self._measured.pop(event.name, None)
            if not event.finished:
                self._measured[event.name] = event
        if not isinstance(event, Measured):
            self._draw(seconds)

    def tick(self, text: str) -> None:
        """Shown at the bottom with the next drawing."""
        self._doing = text.strip()

    def refresh(self, seconds: float) -> None:
        """Draws the bottom anew if it is time."""
        if seconds - self._drawn_at >= _DRAW_SECONDS:
            self._draw(seconds)

    def _end(self, event: StepEnd) -> None:
        step = self._steps.pop()
        self._measured.clear()
        self._doing = ""
        mark, style = (self._symbols.good, "good") if event.ok else (self._symbols.bad, "bad")
        name = f"{step.name:<{_NAME_WIDTH}}"
        own = (style, f"{mark} {name} {format_seconds(event.took):>9}")
        lines = [own, *((kind, f"    {text}") for kind, text in step.lines)]
        if self._steps:
            self._steps[-1].lines += lines
        else:
            self._print(lines)

    def _add(self, style: str, text: str) -> None:
        if self._steps:
            self._steps[-1].lines += [(style, line) for line in text.splitlines()]
        else:
            self._print([(style, text)])

    def _print(self, lines: list[tuple[str, str]]) -> None:
        """Lines that stay, above the bottom."""
        shown = "".join(f"{self._paint(style, printable(text))}\n" for style, text in lines)
        write(self._stream, self._erase() + shown)

    def _draw(self, seconds: float) -> None:
        self._drawn_at = seconds
        columns, rows = _size(self._stream)
        lines = self._bottom(seconds, columns - 1)
        # the newest count where there is little room
        room = max(1, rows - 2)
        if len(lines) > room:
            lines = [lines[0], *lines[len(lines) - room + 1 :]] if room > 1 else lines[:1]
        erased = self._erase()
        self._drawn = [count_cells(text) for _, text in lines]
        write(self._stream, erased + "\n".join(self._paint(style, text) for style, text in lines))

    def _bottom(self, seconds: float, width: int) -> list[tuple[str, str]]:
        lines: list[tuple[str, str]] = []
        for step in self._steps:
            frame = self._symbols.moving[int(seconds / _DRAW_SECONDS) % len(self._symbols.moving)]
            indent = "    " * step.depth
            clock = format_seconds(seconds - step.began)
            lines.append(("moving", f"{indent}{frame} {step.name:<{_NAME_WIDTH}} {clock:>9}"))
            lines += [(style, f"{indent}    {text}") for style, text in step.lines]
        if self._steps:
            indent = "    " * len(self._steps)
            lines += [("", f"{indent}{self._bar(event, width - len(indent))}") for event in self._measured.values()]
            if self._doing:
                lines.append(("faint", f"{indent}{self._doing}"))
        return [(style, fit(text, width, self._symbols.ellipsis)) for style, text in lines]

    def _bar(self, event: Measured, width: int) -> str:
        amount = format_amount(event.done, event.total, event.unit)
        rate = format_rate(event.rate, event.unit) if event.rate and event.unit == "bytes" else ""
        if not event.total:
            return f"{event.name}: {amount}  {rate}".rstrip()
        left = f"{format_seconds(event.remaining)} left" if event.remaining is not None else ""
        share = min(1.0, max(0.0, event.done / event.total))
        texts = ["  ".join(filter(None, (f"{share:4.0%}", *said))) for said in ((amount, rate, left), (left,))]
        text = next((text for text in texts if len(text) <= width), texts[-1])
        length = min(_BAR_WIDTH, width - len(text) - 2)
        if length < 8:
            return text.strip()
        full = round(length * share)
        return f"{self._symbols.full * full}{self._symbols.empty * (length - full)} {text}"

    def _erase(self) -> str:
        """Takes the cursor to the start of the bottom and clears it, also when a resize has wrapped its lines."""
        if not self._drawn:
            return ""
        columns, _ = _size(self._stream)
        rows = sum(max(1, -(-cells // max(1, columns))) for cells in self._drawn)
        self._drawn = []
        up = f"\x1b[{rows - 1}A" if rows > 1 else ""
        return f"\r{up}\x1b[J"

    def _paint(self, style: str, text: str) -> str:
        code = _STYLES.get(style)
        return f"\x1b[{code}m{text}\x1b[0m" if code and self._colour and text else text


def _size(stream: TextIO) -> tuple[int, int]:
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return 80, 24
    return size.columns or 80, size.lines or 24


def _can_show(stream: TextIO, text: str) -> bool:
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
