"""store.json: what a directory says of itself, that it is a store and how it is exported.

    {"schema": 2, "shares": {"ro": 3, "rw": 4}, "old_exports": false}

shares: each file system of its own, by its path below the store, with its fsid; old_exports: whether clients of 0.1 may
still use versions/ and writable/, which lie on the store's own file system. 0.1 wrote {"schema": 1}, which says that.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builder.errors import InputError
from builder.model.share import OLD_SHARES, RO, RW, Share
from builder.model.syntax import IMAGE_NAME
from builder.system.files import write_atomic

MARKER = "store.json"
_SCHEMA = 2
_HINT = 'it should say {"schema": 2, "shares": {...}, "old_exports": false}'


@dataclass(frozen=True)
class Record:
    """How a store is exported.

    shares: path below the store -> fsid, of those that are file systems of their own
    old_exports: whether 0.1 made it and its exports are still in use
    """

    shares: Mapping[str, int] = field(default_factory=dict)
    old_exports: bool = False

    def exported(self, *, rw: bool) -> tuple[Share, ...]:
        """What clients may mount; `rw`: whether there is a root that clients write to, else no such share is."""
        shares = [Share(path, fsid) for path, fsid in sorted(self.shares.items(), key=lambda item: item[1])]
        own = tuple(share for share in shares if rw or not share.writable)
        return (*own, *(OLD_SHARES if self.old_exports else ()))

    def fault(self, store: str) -> str | None:
        """What is wrong with how the store at this path is exported, and which command ends it; None where it holds."""
        if not self.old_exports:
            return None
        command = f"diskless storage --to {shlex.quote(store)}"
        remedy = f"{command} --ro SIZE brings the roots over, such as 20G"
        if self.shares:
            remedy = f"{command} --end-old-exports ends them, when no client runs from them"
        return f"clients reach every file of the file system of {store} through the exports that 0.1 made: {remedy}"


def read_record(root: Path) -> Record:
    """What store.json in `root` says; InputError where it is none of ours."""
    path = root / MARKER
    try:
        data = json.loads(path.read_text("utf-8"))
        schema = data["schema"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: {error}", _HINT) from error
    if schema == 1:
        return Record(old_exports=True)
    if schema != _SCHEMA:
        raise InputError(
            f"{root} is a store of schema {schema!r}, this program knows {_SCHEMA}", "use a newer diskless"
        )
    try:
        return _parsed(data)
    except ValueError as error:
        raise InputError(f"{path}: {error}", _HINT) from error


def write_record(root: Path, record: Record) -> None:
    """Writes store.json, whole or not at all."""
    data = {"schema": _SCHEMA, "shares": dict(record.shares), "old_exports": record.old_exports}
    write_atomic(root / MARKER, json.dumps(data).encode() + b"\n", 0o644)


def _parsed(data: Mapping[str, Any]) -> Record:
    shares, old = data.get("shares", {}), data.get("old_exports", False)
    if not isinstance(shares, dict) or not isinstance(old, bool):
        raise ValueError("shares is not a mapping, or old_exports neither true nor false")
    for path, fsid in shares.items():
        top, _, image = path.partition("/")
        if top not in (RO, RW) or (image and not IMAGE_NAME.accepts(image)) or path.endswith("/"):
            raise ValueError(f"{path!r} is not a share: {RO}, {RW} or {RW}/IMAGE")
        if isinstance(fsid, bool) or not isinstance(fsid, int) or not 0 < fsid < 1 << 16:
            raise ValueError(f"{path} has no fsid between 1 and 65535 but {fsid!r}")
    if len(set(shares.values())) != len(shares):
        raise ValueError("two shares have one fsid")
    return Record(shares, old)
