"""What a store lacks of a version, as it is now: fetched while no other command waits for it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from builder.archive.content import runs_of
from builder.archive.members import AGAIN
from builder.archive.unpack import read_index
from builder.errors import AuditError
from builder.model.artifacts.index import FILE, Frame, Index
from builder.model.artifacts.manifest import BUNDLE, INDEX
from builder.output.offer import Offer, check_frames
from builder.store.arrival.admission import check_share, check_storable
from builder.store.arrival.reuse import open_reuse
from builder.store.inventory import Inventory
from builder.store.layout import require_mounted


def fetch_parts(inventory: Inventory, offer: Offer) -> None:
    """Brings the parts to hand; what other versions have may have gone when it is wanted, and is looked at again then.

    AuditError for an index that is not the manifest's; and before anything is fetched, whatever can be known to keep
    the version from coming in.
    """
    manifest, source = offer.manifest, offer.source
    require_mounted(inventory.store)
    check_storable(offer)
    check_share(inventory.store, manifest)
    if inventory.get(manifest.image, manifest.version) is not None:
        return
    bundle = manifest.artifacts[BUNDLE].sha256
    has_bundle = any(other.artifacts[BUNDLE].sha256 == bundle for other in inventory.manifests)
    source.prepare((INDEX,) if has_bundle else (INDEX, BUNDLE), ())
    index = _index(offer)
    source.prepare((), _missing_frames(inventory, offer, index))


def _index(offer: Offer) -> Index:
    def check(sha256: str) -> None:
        if sha256 != offer.manifest.artifacts[INDEX].sha256:
            raise AuditError(f"{offer.source.name}: {INDEX} is not what the manifest says", AGAIN)

    with tempfile.TemporaryDirectory(prefix="diskless-index-") as directory, offer.source.sealed():
        path = Path(directory) / INDEX
        offer.source.fetch(INDEX, path)
        index = read_index(path, check, offer.manifest.entries)
    check_frames(offer, index)
    return index


def _missing_frames(inventory: Inventory, offer: Offer, index: Index) -> list[Frame]:
    with open_reuse(inventory, offer.manifest, copies=True) as reuse:
        if reuse.is_empty:
            return list(index.frames)
        files = [number for number, record in enumerate(index.files) if record.type == FILE]
        wanted = [number for number in files if not reuse.knows(index.files[number])]
    return [frame for run in runs_of(index, wanted) for frame in index.frames[run.frames]]
