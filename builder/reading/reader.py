"""YAML nodes to dataclasses: every fault is remembered with its place and what to write instead.

Scalars keep what was written: `no`, `010` and `3.10` are text where text is wanted.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import functools
import re
import types
import typing
from typing import Annotated, Any, TypeVar, get_args, get_origin

import yaml

from builder.model.fault import Fault, Place
from builder.model.syntax import Syntax

_MOST_VALUES = 50_000  # with every alias written out; a file may have as many as it has places for
MOST_FAULTS = 100  # of one file, as far as its values go
_SURROGATES = re.compile("[\ud800-\udfff]")
_LONGEST_SHOWN = 80
_CREDENTIALS = re.compile(r"://[^/\s]*@")
_LONGEST_NUMBER = 18  # fits into 64 bits
_YAML_TAGS = "tag:yaml.org,2002:"
_KNOWN_TAGS = {
    _YAML_TAGS + name for name in ("str", "int", "float", "bool", "null", "timestamp", "map", "seq", "merge", "value")
}
T = TypeVar("T")


class TooManyValuesError(Exception):
    """Aliases within aliases grow without bound: how many values would still be read."""


class _TooManyFaultsError(Exception):
    """Nobody reads all of them."""


class DataclassReader:
    """Turns YAML nodes into dataclasses, remembering where each value stood."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self._marks: dict[Place, yaml.Mark] = {}
        self._values = 0
        self._most = _MOST_VALUES

    def mark(self, place: Place) -> yaml.Mark:
        """Where `place` was written, or the nearest thing around it."""
        while place not in self._marks and place:
            place = place[:-1]
        return self._marks[place]

    def read(self, node: yaml.Node, kind: type[T]) -> T | None:
        """The document as a `kind`, or None when it had faults; TooManyValuesError for what only aliases make large."""
        self._most = max(_MOST_VALUES, _count(node))
        try:
            value = self._value(node, kind, ())
        except _TooManyFaultsError:
            return None
        return value if isinstance(value, kind) else None

    def _fault(self, place: Place, message: str, hint: str) -> None:
        self.faults.append(Fault(place, message, hint))
        if len(self.faults) >= MOST_FAULTS:
            raise _TooManyFaultsError

    def _value(self, node: yaml.Node, kind: Any, place: Place) -> Any:  # noqa: ANN401 - kind is any annotation
        self._marks[place] = node.start_mark
        self._values += 1
        if self._values > self._most:
            raise TooManyValuesError(self._most)
        if node.tag not in _KNOWN_TAGS:
            return self._fault(place, f"unknown tag {node.tag!r}", "remove it")
        origin = get_origin(kind)
        if origin in (types.UnionType, typing.Union):
            kind = _choose(node, [option for option in get_args(kind) if option is not type(None)])
            origin = get_origin(kind)
        if dataclasses.is_dataclass(kind):
            node = _written_out(node, typing.cast("type", kind))
            return self._mapping(node, typing.cast("type", kind), place)
        if origin is tuple:
            return self._sequence(node, get_args(kind)[0], place)
        return self._scalar(node, kind, place)

    def _mapping(self, node: yaml.Node, kind: type, place: Place) -> Any:  # noqa: ANN401
        fields = {field.name: field for field in dataclasses.fields(kind)}
        if not isinstance(node, yaml.MappingNode):
            wanted = ", ".join(fields)
            return self._fault(
                place, f"expected keys ({wanted}), got {_describe(node)}", "write `key: value` lines, or {key: value}"
            )
        hints = _hints(kind)
        values: dict[str, Any] = {}
        before = len(self.faults)
        for key_node, value_node in node.value:
            name = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            inside = (*place, name if name is not None else "?")
            if name not in fields:
                self._marks[inside] = key_node.start_mark
                message = f"unknown key {_shown(name)}" if name is not None else "a key must be text"
                self._fault(inside, message, _suggest(str(name), list(fields)))
            elif name in values:
                first = self._marks[inside].line + 1
                self._marks[(*place, f"{name} again")] = key_node.start_mark
                self._fault(
                    (*place, f"{name} again"), f"key '{name}' again, first on line {first}", "keep one of the two"
                )
            else:
                values[name] = self._value(value_node, hints[name], inside)
                self._check_allowed(fields[name], values[name], inside)
        for name, field in fields.items():
            required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            if required and name not in values:
                self._fault(place, f"required key '{name}' is missing", f"{name}: {field.metadata['doc']}")
        return kind(**values) if len(self.faults) == before else None

    def _check_allowed(self, field: dataclasses.Field[Any], value: object, place: Place) -> None:
        allowed = field.metadata.get("allowed")
        if allowed and value is not None and value not in allowed:
            self._fault(place, f"'{value}' is not allowed here", f"allowed: {', '.join(map(str, allowed))}")

    def _sequence(self, node: yaml.Node, kind: Any, place: Place) -> Any:  # noqa: ANN401
        if not isinstance(node, yaml.SequenceNode):
            return self._fault(place, f"expected a list, got {_describe(node)}", "write [a, b], or one `- a` a line")
        return tuple(self._value(item, kind, (*place, position)) for position, item in enumerate(node.value))

    def _scalar(self, node: yaml.Node, kind: Any, place: Place) -> Any:  # noqa: ANN401
        wanted, hint = _expectation(kind)
        if not isinstance(node, yaml.ScalarNode) or (node.tag == _YAML_TAGS + "null" and node.value == ""):
            return self._fault(place, f"expected {wanted}, got {_describe(node)}", hint)
        if _SURROGATES.search(node.value):
            return self._fault(place, f"{_shown(node.value)} is not Unicode text", "correct the escape sequence")
        value = _convert(node.value, kind)
        if value is not None:
            return value
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            hint = _suggest(node.value, [member.value for member in kind])
            return self._fault(place, f"{_shown(node.value)} is not allowed here", hint)
        if get_origin(kind) is Annotated:
            syntax: Syntax = kind.__metadata__[0]
            shown = "what is written here" if syntax.secret else _shown(node.value)
            return self._fault(place, f"{shown} is not {wanted}", syntax.hint(node.value))
        return self._fault(place, f"{_shown(node.value)} is not {wanted}", hint)


def _count(node: yaml.Node) -> int:
    """Nodes that were written, however often they are referred to."""
    seen, waiting = {id(node)}, [node]
    while waiting:
        here = waiting.pop()
        inside = here.value if isinstance(here, yaml.CollectionNode) else ()
        for each in (part for item in inside for part in (item if isinstance(item, tuple) else (item,))):
            if id(each) not in seen:
                seen.add(id(each))
                waiting.append(each)
    return len(seen)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


def _choose(node: yaml.Node, kinds: list[Any]) -> Any:  # noqa: ANN401
    """Of several dataclasses the one whose first field allows what is written there, or is written nowhere."""
    if len(kinds) == 1:
        return kinds[0]
    firsts = {kind: dataclasses.fields(kind)[0] for kind in kinds}
    name = firsts[kinds[0]].name
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    written = next((value.value for key, value in pairs if key.value == name), None)
    fitting = [
        kind
        for kind, field in firsts.items()
        if (field.default if written is None else written) in field.metadata["allowed"]
    ]
    return (fitting or kinds)[0]


def _written_out(node: yaml.Node, kind: type) -> yaml.Node:
    """`a` as `{source: a}` where the first key of `kind` may be written alone."""
    first = dataclasses.fields(kind)[0]
    if not isinstance(node, yaml.ScalarNode) or not first.metadata.get("short") or not node.value:
        return node
    name = yaml.ScalarNode(_YAML_TAGS + "str", first.name, node.start_mark, node.end_mark)
    return yaml.MappingNode(_YAML_TAGS + "map", [(name, node)], node.start_mark, node.end_mark)


def _convert(text: str, kind: Any) -> Any:  # noqa: ANN401
    """The value that was written, or None when it is no `kind`."""
    if get_origin(kind) is Annotated:
        return get_args(kind)[0](text) if kind.__metadata__[0].accepts(text) else None
    if kind is str:
        return text
    if kind is bool:
        return {"true": True, "false": False}.get(text)
    if kind is int:
        return int(text) if text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER else None
    return next((member for member in kind if member.value == text), None)


def _expectation(kind: Any) -> tuple[str, str]:  # noqa: ANN401
    """What a scalar of this kind is called, and how to write one."""
    if get_origin(kind) is Annotated:
        syntax: Syntax = kind.__metadata__[0]
        return syntax.one, syntax.remedy or f"write it like {syntax.example}"
    if kind is bool:
        return "true or false", "write true or false"
    if kind is int:
        return f"a whole number of at most {_LONGEST_NUMBER} digits", "write digits only"
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return "one of " + ", ".join(member.value for member in kind), "write one of them"
    return "text", "write text, in quotes if it has special characters"


def _describe(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "keys"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return _shown(node.value) if node.value else "nothing"


def _shown(text: str) -> str:
    """A value for a message: quoted, cut short, without a password."""
    plain = _CREDENTIALS.sub("://***@", text)
    return repr(plain if len(plain) <= _LONGEST_SHOWN else plain[:_LONGEST_SHOWN] + "...")


def _suggest(word: str, allowed: list[str]) -> str:
    near = difflib.get_close_matches(word, allowed, n=1)
    return (f"did you mean '{near[0]}'? " if near else "") + f"allowed: {', '.join(allowed)}"
