"""Something wrong at one place of a recipe."""

from __future__ import annotations

from dataclasses import dataclass

Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Fault:
    """Something wrong at one place of a recipe: the keys and list positions that lead there."""

    place: Place
    message: str
    hint: str
