"""The channel statement: which version a tag of an image means, from when until when, and after which other ones.

What is signed is the text itself. The serial orders statements, and no date does; dates only say how long one holds.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from builder.model.syntax import IMAGE_NAME, Syntax
from builder.model.text.digest import is_sha256
from builder.model.typed import parse_json, schema_of, typed
from builder.model.version import Version

STATEMENT_SCHEMA = 1
_KIND = "channel"
# the form is that of tags in registries
TAG = Syntax("tag", r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", "stable")
LARGEST_SERIAL = 2**53  # what every JSON reader keeps exactly, RFC 8259 section 6
LARGEST_STATEMENT = 4096  # bytes
_TIMES = range(2**34)  # seconds since 1970


@dataclass(frozen=True)
class ChannelStatement:
    """What a channel means.

    manifest: SHA-256 of the bytes of manifest.json, in hexadecimal
    serial: from 1; each statement of a channel has a higher one than those before
    issued, expires: seconds since 1970
    """

    image: str
    tag: str
    version: Version
    manifest: str
    serial: int
    issued: int
    expires: int
    kind: str = _KIND
    schema: int = STATEMENT_SCHEMA

    def to_json(self) -> str:
        """The text that is signed: keys sorted, one line."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ChannelStatement:
        """Reads such a text; ValueError for anything else, a manifest above all: one key may sign both."""
        if len(text) > LARGEST_STATEMENT:
            raise ValueError(f"a statement of more than {LARGEST_STATEMENT} bytes")
        if not text.isascii():
            raise ValueError("a statement with non-ASCII characters")
        document = parse_json(text)
        schema_of(document, STATEMENT_SCHEMA)
        statement = typed(document, cls)
        if statement.kind != _KIND:
            raise ValueError(f"a statement of kind {statement.kind!r}")
        if not IMAGE_NAME.accepts(statement.image) or not TAG.accepts(statement.tag):
            raise ValueError(f"a statement about {statement.image!r}, tag {statement.tag!r}")
        if not is_sha256(statement.manifest) or not 0 < statement.serial <= LARGEST_SERIAL:
            raise ValueError(f"an invalid serial ({statement.serial}) or digest")
        if not (statement.issued in _TIMES and statement.expires in _TIMES and statement.issued < statement.expires):
            raise ValueError("a statement that expires before it was issued, or at no time")
        return statement
