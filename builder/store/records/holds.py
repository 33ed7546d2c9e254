"""holds.json: versions that an operator went back from, which a channel does not bring back.

    {"schema": 1, "held": {"lab": [{"version": "20261101-0123abcd", "reason": "rollback lab 20261001-..."}]}}

A channel says what is meant for every server; a rollback says what this one wants. A version is held until the channel
means another one, or somebody names the version itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from builder.model.version import Version
from builder.store.records.state import read_state, write_state
from builder.system.files import FULL

HOLDS = "holds.json"
_SCHEMA = 1


@dataclass(frozen=True)
class Hold:
    """A version that clients are not to boot by what a channel says; reason: what was asked for, for people."""

    version: Version
    reason: str


@dataclass(frozen=True)
class Holds:
    """The held versions of each image, those that were left last at the end."""

    held: Mapping[str, tuple[Hold, ...]] = field(default_factory=dict)
    schema: int = _SCHEMA

    def holds(self, image: str, version: Version) -> Hold | None:
        """Why a version is held; None where it is not."""
        return next((hold for hold in self.held.get(image, ()) if hold.version == version), None)

    def without(self, image: str) -> Holds:
        """Nothing of an image held."""
        return replace(self, held={name: holds for name, holds in self.held.items() if name != image})

    def after_rollback(self, image: str, left: Version | None, chosen: Version, reason: str) -> Holds:
        """What is held once clients boot `chosen`: the version that is left, unless `chosen` was held itself."""
        if left is None or left == chosen:
            return self
        holds = tuple(hold for hold in self.held.get(image, ()) if hold.version not in (left, chosen))
        if self.holds(image, chosen) is None:
            holds = (*holds, Hold(left, reason))
        after = self.without(image)
        return replace(after, held={**after.held, image: holds}) if holds else after


def read_holds(root: Path) -> Holds:
    """What is held in the store at `root`; InputError where the file is none of ours."""
    return read_state(root / HOLDS, Holds, _SCHEMA, "remove it: nothing is held then")


def remember_holds(root: Path, holds: Holds, warn: Callable[[str], None]) -> None:
    """Writes it, whole or not at all; a full disk stops no rollback, and what is not remembered is said."""
    if read_holds(root) == holds:
        return
    try:
        write_state(root / HOLDS, holds)
    except OSError as error:
        if error.errno not in FULL:
            raise
        warn(f"{root}: {error.strerror}: that a version is held, or is no more, is not remembered")
