"""A generation: one activated boot configuration of a store."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from builder.model.syntax import IMAGE_NAME
from builder.model.text.moment import Clock
from builder.model.typed import parse_json, schema_of, typed
from builder.model.version import VERSION, Version

GENERATION_SCHEMA = 2
_MENUS_OF_SCHEMA_1 = "pxelinux.cfg"
# the name of a directory of boot files: a version, and which kernel refreshed from a client if not its own
_BOOT_NAME = re.compile(rf"(?P<version>{VERSION.pattern})(\.(?P<refresh>[1-9][0-9]{{0,5}}))?")


@dataclass(frozen=True, order=True)
class BootName:
    """Boot files of a version: its own (refresh 0), or those that `adopt-kernel` took from its root, counted from 1."""

    version: Version
    refresh: int = 0

    def __str__(self) -> str:
        return self.version if self.refresh == 0 else f"{self.version}.{self.refresh}"

    @classmethod
    def parse(cls, text: str) -> BootName:
        """Reads what str() gave; ValueError for anything else."""
        found = _BOOT_NAME.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is not a version")
        return cls(Version(found["version"]), int(found["refresh"] or 0))


@dataclass(frozen=True)
class Generation:
    """What clients boot.

    default: the image of clients that the site does not know
    active: image -> name of its boot files, BootName as text
    made: seconds since 1970; reason: what was asked for, for people
    menus: path of a loader's menu, below the TFTP root -> its SHA-256
    loaders: the same of the loaders' own files that came with it; of 0.1 none did
    clock: what is known of the clock that said `made`; None: nothing, as of those that 0.1 made
    """

    number: int
    server: str
    default: str
    active: Mapping[str, str]
    made: int
    reason: str
    menus: Mapping[str, str] = dataclasses.field(default_factory=dict)
    loaders: Mapping[str, str] = dataclasses.field(default_factory=dict)
    clock: Clock | None = None
    schema: int = GENERATION_SCHEMA

    def boot_name(self, image: str) -> BootName | None:
        """What is active of an image."""
        name = self.active.get(image)
        return None if name is None else BootName.parse(name)

    def to_json(self) -> str:
        """The text of generation.json."""
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Generation:
        """Reads generation.json of any schema so far; ValueError when it is none."""
        try:
            generation = typed(_of_this_schema(parse_json(text)), cls)
        except ValueError as error:
            raise ValueError(f"not a generation: {error}") from error
        for image, name in generation.active.items():
            BootName.parse(name)
            if not IMAGE_NAME.accepts(image):
                raise ValueError(f"not a generation: image {image!r}")
        if generation.default not in generation.active:
            raise ValueError(f"not a generation: its default {generation.default!r} is not active")
        return generation


def _of_this_schema(data: Any) -> Any:  # noqa: ANN401 - any JSON
    """What a generation of schema 1 says, as this one says it: its menus were named by their names alone."""
    if schema_of(data, GENERATION_SCHEMA) == GENERATION_SCHEMA:
        return data
    menus = data.get("menus", {})
    if not isinstance(menus, dict):
        raise ValueError("menus is not of type dict")
    paths = {f"{_MENUS_OF_SCHEMA_1}/{name}": digest for name, digest in menus.items()}
    return {**data, "schema": GENERATION_SCHEMA, "menus": paths}
