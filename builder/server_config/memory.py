"""server.json: what a store has among the files of its server's programs, so that nothing of others is overwritten.

    {"schema": 1, "name": "diskless", "files": {"/etc/dnsmasq.d/diskless.conf":
     {"sha256": "...", "restart": "systemctl restart dnsmasq", "backup": null}}}

name: of the store's files, tags and units, chosen once; sha256: of what was written; backup: what had been there before
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from builder.store.layout import SERVER_FILES
from builder.store.records.state import read_state, write_state

_SCHEMA = 1


@dataclass(frozen=True)
class WrittenFile:
    """One file of a server as this program left it."""

    sha256: str
    restart: str | None = None
    backup: str | None = None


@dataclass(frozen=True)
class ServerMemory:
    """What a store has on its server; `name` is None where nothing was installed yet."""

    name: str | None = None
    files: Mapping[str, WrittenFile] = field(default_factory=dict)
    schema: int = _SCHEMA


def read_memory(root: Path) -> ServerMemory:
    """What was installed for the store in a directory; InputError where the file is none of ours."""
    hint = "remove it: what is installed then counts as somebody else's, and --replace takes it over"
    return read_state(root / SERVER_FILES, ServerMemory, _SCHEMA, hint)


def write_memory(root: Path, memory: ServerMemory) -> None:
    """Writes it, whole or not at all; nothing where there is no such directory yet."""
    if root.is_dir():
        write_state(root / SERVER_FILES, memory)
