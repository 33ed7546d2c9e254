"""Stores whose roots lie on file systems of their own, and stores as servers' texts name them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from builder.model.share import RO, RW, ServedStore, Share
from builder.shares.image_file import make_filesystem
from builder.shares.mounting import mount_share, places
from builder.store.layout import Store, find_store
from builder.store.records.record import MARKER, Record, write_record
from builder.system.private_mounts import private_mounts

SHARES = (Share(RO, 3), Share(RW, 4))
_SIZE = 96 << 20  # of which a deploy wants 64 MiB to spare


def served(path: Path | str, shares: tuple[Share, ...] = SHARES) -> ServedStore:
    """A store at `path`, with both shares where nothing else is said."""
    return ServedStore(str(path), shares)


def make_shares(place: Path) -> None:
    """A store at `place` with small file systems for its roots, not mounted."""
    place.mkdir()
    record = Record({share.path: share.fsid for share in SHARES})
    for share in record.shares:
        image = places(Store(place), share).image
        image.parent.mkdir(exist_ok=True)
        make_filesystem(image, _SIZE, share)
    write_record(place, record)


@contextlib.contextmanager
def mounted(place: Path) -> Iterator[None]:
    """With the file systems of a store mounted, for this thread and what it starts."""
    with private_mounts():
        mount_shares(place)
        yield


def mount_shares(place: Path) -> None:
    """Mounts what is not mounted of a store, where there is one."""
    if (place / MARKER).exists():
        store = find_store(place)
        for share in store.record.shares:
            mount_share(store, share)
