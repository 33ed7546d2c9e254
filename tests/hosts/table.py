"""The results, as a table or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True)
class Row:
    """One command on one machine; result: passed, failed and why, or why it was not tried; minutes: of the clock."""

    host: str
    user: str
    variation: str
    python: str
    command: str
    result: str
    minutes: float

    @property
    def failed(self) -> bool:
        """Whether the whole must fail."""
        return self.result.startswith("failed")


def render_table(rows: Sequence[Row]) -> str:
    """Columns as wide as they must be, under their names."""
    names = [field.name for field in fields(Row)]
    lines = [names, *([_text(getattr(row, name)) for name in names] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(names))]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "".join(line.rstrip() + "\n" for line in padded)


def render_json(rows: Sequence[Row]) -> str:
    """A list of objects with the table's columns as keys."""
    return json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False) + "\n"


def _text(value: str | float) -> str:
    return f"{value:.1f}" if isinstance(value, float) else value
