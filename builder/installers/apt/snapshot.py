"""A snapshot is a day that has passed, and nothing in it is younger: anything else would not be the same tomorrow."""

from __future__ import annotations

import datetime
import email.utils
import re
from pathlib import Path

from builder.errors import AuditError, InputError
from builder.model.recipe import DebianDistribution

_DATE = re.compile(r"^Date: (.+)$", re.MULTILINE)


def check_day(distribution: DebianDistribution) -> None:
    """InputError for a day to come, for which the server would give what it has now."""
    if distribution.snapshot is None:
        return
    today = datetime.datetime.now(datetime.UTC).date()
    if datetime.date.fromisoformat(distribution.snapshot) > today:
        raise InputError(
            f"distribution.snapshot: {distribution.snapshot} is yet to come (today is {today}, in UTC)",
            "name a day that has begun, or correct this machine's clock",
        )


def check_snapshot(distribution: DebianDistribution, lists: Path) -> None:
    """AuditError when an index that apt fetched for the snapshot was made after it began."""
    if distribution.snapshot is None:
        return
    began = datetime.datetime.fromisoformat(distribution.snapshot).replace(tzinfo=datetime.UTC)
    others = tuple(_list_name(repository.url) for repository in distribution.repositories)
    indexes = [path for path in sorted(lists.glob("*Release")) if not path.name.lstrip("_").startswith(others)]
    if not indexes:
        raise AuditError("apt fetched no Release file of the snapshot", "remove the cache directory and build again")
    for path in indexes:
        made = _DATE.search(path.read_text(encoding="utf-8", errors="replace"))
        when = None if made is None else email.utils.parsedate_to_datetime(made[1])
        if when is None or when > began:
            raise AuditError(
                f"{path.name} is of {when}, which is not the state of {distribution.snapshot}",
                "the server gives something else than that day's snapshot: check distribution.mirrors",
            )


def _list_name(url: str) -> str:
    """How apt calls the lists of a URL: without its scheme, with _ for each slash."""
    return url.partition("://")[2].strip("/").replace("_", "%5f").replace("/", "_")
