"""The list of an image's versions and channels on a web server, which has none that all servers would show.

    BASE/IMAGE/versions/list.json    {"schema": 1, "versions": ["VERSION", ...], "channels": ["TAG", ...]}

Every upload adds what it sends and moves. It is for what is kept: nobody who reads a version looks at it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from builder.errors import AuditError
from builder.model.artifacts.channel import TAG
from builder.model.typed import parse_json
from builder.model.version import VERSION, Version

LIST = "versions/list.json"


@dataclass(frozen=True)
class WebList:
    """What was uploaded: versions in the order in which they came, and the names of channels."""

    versions: tuple[Version, ...] = ()
    channels: tuple[str, ...] = ()

    def adding(self, version: Version, channels: Iterable[str]) -> WebList:
        """The same, with what an upload brings."""
        return WebList(
            tuple(dict.fromkeys((*self.versions, version))), tuple(dict.fromkeys((*self.channels, *channels)))
        )

    def without(self, version: Version) -> WebList:
        """The same, without a version that was removed."""
        return WebList(tuple(one for one in self.versions if one != version), self.channels)

    def to_json(self) -> bytes:
        """The file."""
        content = {"schema": 1, "versions": self.versions, "channels": self.channels}
        return json.dumps(content, indent=1).encode() + b"\n"


def read_list(body: bytes | None, url: str) -> WebList:
    """What such a file says; an empty list where there is none, AuditError for anything else."""
    if body is None:
        return WebList()
    try:
        content = parse_json(body)
        versions, channels = content["versions"], content["channels"]
        if content["schema"] != 1 or not all(TAG.accepts(tag) and not VERSION.accepts(tag) for tag in channels):
            raise ValueError("no such list")
        return WebList(tuple(map(Version, versions)), tuple(channels))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        hint = "remove it; the next uploads list what they send, and what is not listed is kept"
        raise AuditError(f"{url} is no list of versions: {error}", hint) from error
