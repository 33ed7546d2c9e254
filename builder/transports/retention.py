"""Which versions a place need not keep: all but the newest, the young, and what a channel names.

Ages come from the dates in versions' names, and are counted back from the newest of them: no clock has a say in what is
removed.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from builder.model.version import Version
from builder.transports.base import Catalog


@dataclass(frozen=True)
class Retention:
    """What is kept besides what a channel names.

    count: so many of the newest versions; days: those that are at most so many days older than the newest

    What either of them keeps stays.
    """

    count: int | None = None
    days: int | None = None


def list_outdated(catalog: Catalog, retention: Retention, newest: Sequence[Version]) -> list[Version]:
    """What may go, the oldest first.

    newest: versions that count as newer than all others, the newest last, since they were uploaded or replaced just now
    """
    known = [version for version in sorted(catalog.versions, key=_day) if version not in newest]
    ordered = [*known, *(version for version in newest if version in catalog.versions)]
    if retention == Retention() or not ordered:
        return []
    kept = {version for version in catalog.channels.values() if version is not None} | set(newest[-1:])
    if retention.count is not None:
        kept |= set(ordered[-retention.count :])
    if retention.days is not None:
        latest = max(map(_day, ordered))
        kept |= {version for version in ordered if (latest - _day(version)).days <= retention.days}
    return [version for version in ordered if version not in kept]


def _day(version: Version) -> datetime.date:
    """Of a name that no calendar has, the first of its year: it is read, not believed."""
    try:
        return datetime.date(int(version[:4]), int(version[4:6]), int(version[6:8]))
    except ValueError:
        return datetime.date(max(1, int(version[:4])), 1, 1)
