"""resolve: which packages exactly."""

from __future__ import annotations

from builder.model.artifacts.lock import Lock
from builder.stages.context import Context


def run(context: Context) -> Lock:
    """Asks the mirrors and returns the lock."""
    with context.progress.step("resolve"):
        lock = context.installer.resolve()
        context.progress.note(f"{len(lock.packages)} packages, {lock.size / 1e6:.0f} MB")
        return lock
