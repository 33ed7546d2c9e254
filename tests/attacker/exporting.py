"""What a store exports, for the attacked servers and for the attacker."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from builder.model.share import RO, RW, ServedStore, Share
from builder.model.site import Site
from builder.render.server.files import store_exports
from builder.render.server.services import Export
from tests.attacker.plan import Exposed

SERVER, OTHER_CLIENT = "10.77.0.1", "10.77.0.99"
SHARES = (Share(RO, 3), Share(RW, 4))
_OTHER_FSID = 77


def exports_of(store: str, path: str | None, *, other: bool) -> tuple[Export, ...]:
    """What a site's store exports; other: and one more, which only another client may mount."""
    exports = store_exports(Site(server=SERVER, subnet="10.77.0.0/24", path=path), ServedStore(store, SHARES))
    if not other:
        return exports
    last = exports[-1]
    directory, shown = (str(Path(place).with_name("other")) for place in (last.directory, last.path))
    return (
        *exports,
        dataclasses.replace(last, directory=directory, path=shown, clients=(OTHER_CLIENT,), fsid=_OTHER_FSID),
    )


def exposed(exports: Sequence[Export]) -> tuple[Exposed, ...]:
    """The same for the attacker."""
    return tuple(
        Exposed(export.path, export.directory, export.fsid, export.writable, export.fsid != _OTHER_FSID)
        for export in exports
    )
