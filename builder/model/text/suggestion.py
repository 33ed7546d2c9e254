"""What a name was probably meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def suggest(word: str, known: Sequence[str], most: int = 3) -> str:
    """`did you mean ...?` with the names that come near, or nothing."""
    near = difflib.get_close_matches(word, known, n=most)
    return f"did you mean {' or '.join(near)}?" if near else ""


def suggest_each(words: Sequence[str], known: Sequence[str]) -> str:
    """The same for several words, each with its own."""
    found = {word: suggest(word, known) for word in words}
    return "; ".join(f"{word}: {hint}" for word, hint in found.items() if hint)
