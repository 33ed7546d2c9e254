"""server.json: what a store has among the files of its server's programs, so that nothing of others is overwritten.

    {"schema": 1, "name": "diskless", "files": {"/etc/dnsmasq.d/diskless.conf":
     {"sha256": "...", "restart": "systemctl restart dnsmasq", "backup": null}}}

name: of the store's files, tags and units, chosen once; sha256: of what was written; backup: what had been there before
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from builder.errors import HostError, InputError
from builder.model.typed import parse_json, schema_of, typed
from builder.store.layout import SERVER_FILES
from builder.system.files import write_atomic

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
    path = root / SERVER_FILES
    try:
        data = parse_json(path.read_bytes())
        schema_of(data, _SCHEMA)
        return typed(data, ServerMemory)
    except FileNotFoundError:
        return ServerMemory()
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}", "run this as root, or correct the file") from error
    except ValueError as error:
        hint = "remove it: what is installed then counts as somebody else's, and --replace takes it over"
        raise InputError(f"{path}: {error}", hint) from error


def write_memory(root: Path, memory: ServerMemory) -> None:
    """Writes it, whole or not at all; nothing where there is no such directory yet."""
    if root.is_dir():
        write_atomic(root / SERVER_FILES, json.dumps(asdict(memory), indent=1).encode() + b"\n", 0o644)
