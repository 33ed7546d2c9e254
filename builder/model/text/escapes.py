"""Names that others chose, as a terminal may see them: nothing in them moves the cursor or begins a line."""

from __future__ import annotations


def escaped(text: str, keep: str = "") -> str:
    """`text` with what cannot be printed, but `keep`, escaped as Python writes it in a string."""
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode("ascii") for char in text
    )
