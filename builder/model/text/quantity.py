"""Amounts as people read them, cut to the width of a terminal. Pure text; sizes are powers of 1000."""

from __future__ import annotations

import unicodedata

_UNITS = ("B", "kB", "MB", "GB", "TB")
_STEP = 1000


def format_bytes(count: float) -> str:
    """Bytes with about three digits: `812 B`, `4.2 MB`, `128 MB`."""
    size, unit = float(count), 0
    while abs(size) >= _STEP - 0.5 and unit < len(_UNITS) - 1:
        size, unit = size / _STEP, unit + 1
    return f"{size:.1f} {_UNITS[unit]}" if unit and abs(size) < 10 else f"{size:.0f} {_UNITS[unit]}"


def format_change(count: int) -> str:
    """A difference of bytes, with its sign: `+4.2 MB`."""
    return f"{'-' if count < 0 else '+'}{format_bytes(abs(count))}"


def format_seconds(seconds: float) -> str:
    """A duration: `0.4 s`, `1:05 min`, `2:00:01 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02} h"


def format_amount(done: float, total: float | None, unit: str) -> str:
    """What of how much: `104/168 MB`, `12/209 packages`."""
    if unit != "bytes":
        return f"{done:.0f} {unit}" if total is None else f"{done:.0f}/{total:.0f} {unit}"
    if total is None:
        return format_bytes(done)
    number, name = format_bytes(total).split(" ")
    same = float(number) and done / (total / float(number))
    return f"{same:.{len(number.partition('.')[2])}f}/{number} {name}"


def format_rate(rate: float, unit: str) -> str:
    """How much a second."""
    return f"{format_bytes(rate)}/s" if unit == "bytes" else f"{rate:.1f}/s"


def count_cells(text: str) -> int:
    """The columns of a terminal that `text` takes: wide characters take two, combining ones none."""
    return sum(_cells(char) for char in text)


def fit(text: str, width: int, ellipsis: str = "…") -> str:
    """`text` in one line of at most `width` columns; what is cut off is replaced by `ellipsis`."""
    plain = printable(text)
    if count_cells(plain) <= width:
        return plain
    kept, used = [], len(ellipsis)
    for char in plain:
        used += _cells(char)
        if used > width:
            break
        kept.append(char)
    return "".join(kept).rstrip() + ellipsis if width >= len(ellipsis) else ""


def printable(text: str) -> str:
    """`text` without anything that a terminal would obey."""
    return "".join(char if char.isprintable() else " " for char in text)


def _cells(char: str) -> int:
    if char.isascii():
        return 1
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
