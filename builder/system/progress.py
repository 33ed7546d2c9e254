"""Steps that are named, nested and timed: on a terminal with the command's last line, elsewhere as plain lines."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import TextIO

from builder.errors import DisklessError

_REDRAW_SECONDS = 0.1


class Progress:
    """Reports steps to `stream` (standard error); results belong on standard output, not here."""

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._quiet = quiet
        self._live = not quiet and self._stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._depth = 0
        self._drawn = 0.0
        self._seconds: dict[str, float] = {}

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds that each finished top-level step took, in order."""
        return dict(self._seconds)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Names and times what happens inside; an error that passes through learns which step it came from."""
        started = time.monotonic()
        self._print(f"{name} ...")
        self._depth += 1
        try:
            yield
        except DisklessError as error:
            error.phase = error.phase or name
            raise
        finally:
            self._depth -= 1
            elapsed = time.monotonic() - started
            if self._depth == 0:
                self._seconds[name] = elapsed
            if sys.exc_info()[0] is None:
                self._print(f"{name}: {elapsed:.1f} s")

    def note(self, text: str) -> None:
        """One line that stays."""
        self._print(text)

    def warn(self, text: str) -> None:
        """One line that stays, also when quiet."""
        self._erase()
        self._stream.write(f"warning: {text}\n")
        self._stream.flush()

    def tick(self, text: str) -> None:
        """What is going on right now: one line that the next one replaces; nothing where there is no terminal."""
        now = time.monotonic()
        if not self._live or now - self._drawn < _REDRAW_SECONDS:
            return
        self._drawn = now
        width = _columns(self._stream) - 1
        line = "".join(char if char.isprintable() else " " for char in f"{'  ' * self._depth}{text.strip()}")
        self._stream.write(f"\r\x1b[K{line[:width]}")
        self._stream.flush()

    def _erase(self) -> None:
        if self._live:
            self._stream.write("\r\x1b[K")

    def _print(self, text: str) -> None:
        if self._quiet:
            return
        self._erase()
        self._stream.write(f"{'  ' * self._depth}{text}\n")
        self._stream.flush()


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except OSError:
        return 80
