"""The reference of the events, docs/events.md, made from the model: `python -m builder.render.documents.events`."""

from __future__ import annotations

import dataclasses
import inspect
import sys
import typing
from collections.abc import Mapping

from builder.model.events import EVENTS, Event

_HEAD = """\
# Events

Made from the model by `make docs`; do not edit. With `--events FILE` a command writes what it does to FILE, as it
does it: one JSON object a line, in ASCII. `--events -` writes to standard error, and nothing else goes there then.
The result is on standard output as without it.

    diskless build recipes/debian-nfs.yml --json --events - 2>&1 >result.json | jq -r 'select(.event == "warning").text'

Every event has `event`, its kind, and `seconds` since the command began. The last event is `result` or `error`, except
of a command that was killed. A program should ignore kinds and keys that it does not know: new ones may come.
"""


def events_reference() -> str:
    """The whole page, in Markdown."""
    return "\n".join([_HEAD, *map(_section, EVENTS)])


def _section(kind: type[Event]) -> str:
    rows = [f"| `{name}` | {word} | {meaning} |" for name, word, meaning in _fields(kind)]
    head = ["| key | value | meaning |", "|---|---|---|"]
    return "\n".join([f"## `{kind.kind}`", "", inspect.cleandoc(kind.__doc__ or ""), "", *head, *rows, ""])


def _fields(kind: type[Event]) -> list[tuple[str, str, str]]:
    hints = typing.get_type_hints(kind)
    return [(field.name, _word(hints[field.name]), field.metadata["doc"]) for field in dataclasses.fields(kind)]


def _word(hint: typing.Any) -> str:  # noqa: ANN401 - hint is any annotation
    if typing.get_origin(hint) is tuple:
        return "list of text"
    if typing.get_origin(hint) is Mapping:
        return "object"
    options = [option for option in typing.get_args(hint) if option is not type(None)]
    names = {str: "text", int: "number", float: "number", bool: "true or false"}
    return names[options[0] if options else hint] + (" or null" if options else "")


if __name__ == "__main__":
    sys.stdout.write(events_reference())
