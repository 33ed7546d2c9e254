"""The file of a channel, in directories and on web servers: where it leads, and what is signed about it.

    {"schema": 1, "manifest": "../VERSION/manifest.json", "sha256": "...", "statement": "...", "signature": "..."}

One file, so that it changes at once. 0.1 knew the first three keys, and reads it still.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

from builder.model.artifacts.manifest import MANIFEST, Manifest
from builder.model.typed import parse_json
from builder.model.version import VERSION, Version
from builder.output.offer import SignedStatement

CHANNELS = "channels"
LARGEST_CHANNEL = 256 << 10  # bytes
_BESIDE = re.compile(rf"\.\./([^/]{{1,64}})/{re.escape(MANIFEST)}")


@dataclass(frozen=True)
class ChannelFile:
    """Where a channel leads: `manifest` from its own address, `sha256` of what is there.

    statement: what is signed about it
    """

    manifest: str
    sha256: str
    statement: SignedStatement | None = None

    @property
    def version(self) -> Version | None:
        """What it leads to; None where that is none of the versions beside it."""
        found = _BESIDE.fullmatch(self.manifest)
        return Version(found[1]) if found and VERSION.accepts(found[1]) else None


def write_channel(manifest: Manifest, document: bytes, statement: SignedStatement | None) -> bytes:
    """The file of a channel that means a version, whose manifest.json is `document`."""
    content = {
        "schema": 1,
        "manifest": f"../{manifest.version}/{MANIFEST}",
        "sha256": hashlib.sha256(document).hexdigest(),
    }
    if statement is not None:
        content |= {"statement": statement.text, "signature": statement.signature.decode("ascii")}
    return json.dumps(content, indent=1, sort_keys=True).encode() + b"\n"


def read_channel(body: bytes) -> ChannelFile | None:
    """What such a file says; None for anything else."""
    if len(body) > LARGEST_CHANNEL:
        return None
    try:
        content = parse_json(body)
        target, sha256 = content["manifest"], content["sha256"]
        if not (isinstance(target, str) and isinstance(sha256, str) and content.get("schema") == 1):
            return None
        text, signature = content.get("statement"), content.get("signature")
        if not isinstance(text, str) or not isinstance(signature, str):
            return ChannelFile(target, sha256)
        return ChannelFile(target, sha256, SignedStatement(text, signature.encode("ascii")))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
