"""Stores as servers' texts name them, for tests that have no real one."""

from __future__ import annotations

from pathlib import Path

from builder.model.share import RO, RW, ServedStore, Share

SHARES = (Share(RO, 3), Share(RW, 4))


def served(path: Path | str, shares: tuple[Share, ...] = SHARES) -> ServedStore:
    """A store at `path`, with both shares where nothing else is said."""
    return ServedStore(str(path), shares)
