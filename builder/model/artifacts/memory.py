"""What was seen of channels, so that nothing older is believed later."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from builder.model.artifacts.channel import ChannelStatement
from builder.model.typed import parse_json, schema_of, typed
from builder.model.version import Version

MEMORY_SCHEMA = 1


@dataclass(frozen=True)
class SeenStatement:
    """The statement of the highest serial of a channel; `sha256` is of its text."""

    serial: int
    sha256: str
    version: Version


@dataclass(frozen=True)
class ChannelMemory:
    """What is remembered, and written as JSON.

    channels: image -> tag -> what was seen
    places: what keeps the versions of one image -> that image
    newest_issued: the latest time at which any statement was issued, seconds since 1970
    """

    channels: Mapping[str, Mapping[str, SeenStatement]] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)
    newest_issued: int = 0
    schema: int = MEMORY_SCHEMA

    def seen(self, image: str, tag: str) -> SeenStatement | None:
        """The highest of a channel."""
        return self.channels.get(image, {}).get(tag)

    def with_place(self, place: str, image: str) -> ChannelMemory:
        """Knows which image is there."""
        return dataclasses.replace(self, places={**self.places, place: image}) if place else self

    def with_statement(self, statement: ChannelStatement, sha256: str, *, forget: bool) -> ChannelMemory:
        """Has seen a statement, whose text has this digest. forget: whatever was seen of the channel, and of times."""
        seen = SeenStatement(statement.serial, sha256, statement.version)
        of_image = {**self.channels.get(statement.image, {}), statement.tag: seen}
        issued = statement.issued if forget else max(self.newest_issued, statement.issued)
        return dataclasses.replace(self, channels={**self.channels, statement.image: of_image}, newest_issued=issued)

    def merged(self, other: ChannelMemory) -> ChannelMemory:
        """What either has seen: of each channel the higher serial; of places what this one says."""
        channels = {image: dict(tags) for image, tags in other.channels.items()}
        for image, tags in self.channels.items():
            for tag, seen in tags.items():
                there = channels.setdefault(image, {}).get(tag)
                if there is None or there.serial <= seen.serial:
                    channels[image][tag] = seen
        issued = max(self.newest_issued, other.newest_issued)
        return ChannelMemory(channels, {**other.places, **self.places}, issued)

    def to_json(self) -> str:
        """The text of channels.json."""
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, data: bytes) -> ChannelMemory:
        """Reads channels.json; ValueError when it is none."""
        document = parse_json(data)
        schema_of(document, MEMORY_SCHEMA)
        return typed(document, cls)
