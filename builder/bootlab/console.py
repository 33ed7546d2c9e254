"""Reading what a guest's serial ports and the servers' logs say, while they are being written."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from builder.errors import InputError
from builder.system.guarded.private import FILE_MODE, give_to_readers

_ESCAPES = re.compile(r"\x1b(?:\][^\x07]*\x07|\[[0-9;?=]*[A-Za-z]|[()][A-Z0-9]|[@-Z\\-_=>])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
# cursor movements of firmware and loaders, which paint their lines instead of ending them
_MOVES = re.compile(r"\x1b\[\d+;\d+H|\x1b\[\d*[EJ]")


def clean(raw: str) -> str:
    """Terminal output as plain lines: no escape sequences, no control characters, no empty repeats."""
    text = raw.replace("\r\n", "\n").replace("\r", "\n")
    text = _CONTROLS.sub("", _ESCAPES.sub("", _MOVES.sub("\n", text)).replace("\x1bc", ""))
    return re.sub(r"\n\s*\n+", "\n", text)


def begin_log(path: Path, option: str = "--console-log") -> None:
    """Makes an empty file to write to, kept from others; InputError where a link or anything but a file is there.

    `option` is the one that names it.
    """
    handle = _open_log(path, option)
    try:
        os.ftruncate(handle, 0)
        os.fchmod(handle, FILE_MODE)
        give_to_readers(handle)
    finally:
        os.close(handle)


def check_log(path: Path, option: str) -> None:
    """InputError where `begin_log` would raise it; everything is as it was afterwards."""
    was_there = os.path.lexists(path)
    os.close(_open_log(path, option))
    if not was_there:
        path.unlink()


def _open_log(path: Path, option: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    hint = f"see what it is, and remove it; or name another file with {option}"
    try:
        handle = os.open(path, flags, 0o600)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}", hint) from error
    info = os.fstat(handle)
    if not stat.S_ISREG(info.st_mode) or info.st_nlink > 1:
        os.close(handle)
        raise InputError(f"{path} is not a file, or has other names: nothing is written to it", hint)
    return handle


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
