"""fetch: the locked package files, from the cache or the mirrors."""

from __future__ import annotations

import os

from builder.errors import InputError
from builder.model.artifacts.lock import Lock
from builder.stages.context import Context


def run(context: Context, lock: Lock) -> int:
    """Fetches everything and returns the epoch: SOURCE_DATE_EPOCH, else when the newest package was built."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given is not None and not (given.isascii() and given.isdigit()):
        raise InputError(f"SOURCE_DATE_EPOCH is {given!r}", "set it to seconds since 1970, or unset it")
    with context.progress.step("fetch"):
        newest = context.installer.fetch(lock)
        return int(given) if given is not None else newest
