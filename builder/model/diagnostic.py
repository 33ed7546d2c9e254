"""What an examination found: one thing, whether it is well, and what to do where it is not."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class Level(enum.StrEnum):
    """How well something is: fail keeps a command from working, warn makes it slower, poorer, or not sure."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Diagnostic:
    """One thing that was looked at.

    area: what it belongs to, e.g. build; name: the thing, e.g. mmdebstrap; text: what was seen
    remedy: what to do, where the level is not ok
    """

    area: str
    name: str
    level: Level
    text: str
    remedy: str | None = None


def ok(area: str, name: str, text: str) -> Diagnostic:
    """It is well."""
    return Diagnostic(area, name, Level.OK, text)


def warn(area: str, name: str, text: str, remedy: str) -> Diagnostic:
    """It could be better."""
    return Diagnostic(area, name, Level.WARN, text, remedy)


def fail(area: str, name: str, text: str, remedy: str) -> Diagnostic:
    """It will not work."""
    return Diagnostic(area, name, Level.FAIL, text, remedy)


def worst(findings: Iterable[Diagnostic]) -> Level:
    """The level of the worst finding."""
    return max((finding.level for finding in findings), key=list(Level).index, default=Level.OK)
