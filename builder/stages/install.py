"""install: the packages, into an empty tree."""

from __future__ import annotations

from builder.model.lock import Lock
from builder.stages.context import Context


def run(context: Context, lock: Lock, epoch: int) -> None:
    """Fills the tree."""
    with context.progress.step("install"):
        context.installer.install(lock, epoch)
