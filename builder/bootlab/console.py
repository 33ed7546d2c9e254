"""Reading what a guest's serial ports and the servers' logs say, while they are being written."""

from __future__ import annotations

import re
from pathlib import Path

_ESCAPES = re.compile(r"\x1b(?:\][^\x07]*\x07|\[[0-9;?=]*[A-Za-z]|[()][A-Z0-9]|[@-Z\\-_=>])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
# cursor movements of firmware and loaders, which paint their lines instead of ending them
_MOVES = re.compile(r"\x1b\[\d+;\d+H|\x1b\[\d*[EJ]")


def clean(raw: str) -> str:
    """Terminal output as plain lines: no escape sequences, no control characters, no empty repeats."""
    text = raw.replace("\r\n", "\n").replace("\r", "\n")
    text = _CONTROLS.sub("", _ESCAPES.sub("", _MOVES.sub("\n", text)).replace("\x1bc", ""))
    return re.sub(r"\n\s*\n+", "\n", text)


class Log:
    """A growing file; `text` is all of it so far, cleaned."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._size = -1
        self._text = ""

    @property
    def text(self) -> str:
        """Everything written so far; empty while the file does not exist."""
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            return ""
        if size != self._size:
            self._size = size
            self._text = clean(self.path.read_bytes().decode("utf-8", "replace"))
        return self._text

    def last_lines(self, count: int) -> tuple[str, ...]:
        """The last `count` lines."""
        return tuple(self.text.splitlines()[-count:])
