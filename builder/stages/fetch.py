"""fetch: the locked package files, from the cache or the mirrors."""

from __future__ import annotations

import dataclasses
import os

from builder.errors import InputError
from builder.model.artifacts.lock import Lock
from builder.stages.context import Context


def run(context: Context, lock: Lock) -> int:
    """Fetches everything and returns the epoch: SOURCE_DATE_EPOCH, else when the newest package was built.

    A locked build has that of its lock.
    """
    given = _given_epoch()
    with context.progress.step("fetch"):
        if context.pinned is None:
            newest = context.installer.fetch(lock)
            return newest if given is None else given
        epoch = context.pinned.file.epoch
        if given not in (None, epoch):
            message = f"SOURCE_DATE_EPOCH is {given}, and the lock's epoch {epoch}"
            raise InputError(message, "unset it, or lock with it: `diskless lock --update`")
        # what is lent was fetched where it is needed
        context.installer.fetch(dataclasses.replace(lock, lent=()))
        return epoch


def _given_epoch() -> int | None:
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given is not None and not (given.isascii() and given.isdigit()):
        raise InputError(f"SOURCE_DATE_EPOCH is {given!r}", "set it to seconds since 1970, or unset it")
    return None if given is None else int(given)
