"""Values of dataclasses from JSON, each of the type that is declared for it."""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from builder.model.version import Version

T = TypeVar("T")
# commas and brackets: more than any document of ours has, and what they become in memory is a hundred times their size
MOST_JSON_VALUES = 1_000_000


def parse_json(data: bytes | str, most: int = MOST_JSON_VALUES) -> Any:  # noqa: ANN401 - any JSON
    """The value of a JSON text that anybody may have written; ValueError for whatever cannot be one of ours.

    most: commas and opening brackets in it; they are counted before memory is taken for what they stand for
    """
    text = data if isinstance(data, str) else data.decode()
    if sum(map(text.count, ",[{")) > most:
        raise ValueError(f"a document of more than {most} values")
    try:
        value = json.loads(text)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode()  # half a pair can be neither printed nor hashed
    except UnicodeError as error:
        raise ValueError("it has half of a surrogate pair") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return value


def typed(data: object, kind: type[T]) -> T:
    """The `kind`, a dataclass, that `data` (as json.loads gives it) means; ValueError names the first wrong place.

    Nothing is converted that JSON can say itself: True is not a number, 1.0 is not 1, and a key that `kind` does not
    have is wrong too. A list becomes a tuple, a text an enum's member or a Version.
    """
    value: T = _value(data, kind, "")
    return value


def schema_of(data: object, newest: int) -> int:
    """What `data`, as json.loads gives it, says of its schema; ValueError unless it is one of 1 to `newest`."""
    schema = data.get("schema") if isinstance(data, dict) else None
    if type(schema) is not int or not 1 <= schema <= newest:
        raise ValueError(f"schema {schema!r}, this program reads 1 to {newest}")
    return schema


def _value(data: Any, hint: Any, place: str) -> Any:  # noqa: ANN401 - hint is any annotation, data any JSON
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return None if data is None else _value(data, next(kind for kind in arguments if kind is not type(None)), place)
    if origin is tuple:
        items = _checked(data, list, place)
        return tuple(_value(item, arguments[0], f"{place}[{position}]") for position, item in enumerate(items))
    if origin in (dict, Mapping):
        values = _checked(data, dict, place)
        return {name: _value(item, arguments[1], _inside(place, name)) for name, item in values.items()}
    if dataclasses.is_dataclass(hint):
        return _object(data, typing.cast("type", hint), place)
    if issubclass(hint, (enum.StrEnum, Version)):
        return _named(data, hint, place)
    return _checked(data, hint, place)


def _object(data: Any, kind: type, place: str) -> Any:  # noqa: ANN401
    values = _checked(data, dict, place)
    hints = _hints(kind)
    for name in values:
        if name not in hints:
            raise ValueError(f"{_inside(place, name)} is not a key that is known")
    for field in dataclasses.fields(kind):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and field.name not in values:
            raise ValueError(f"{_inside(place, field.name)} is missing")
    return kind(**{name: _value(item, hints[name], _inside(place, name)) for name, item in values.items()})


def _named(data: Any, kind: type[enum.StrEnum] | type[Version], place: str) -> Any:  # noqa: ANN401
    text = _checked(data, str, place)
    try:
        return kind(text)
    except ValueError as error:
        message = f"{text!r} is not one of {', '.join(kind)}" if issubclass(kind, enum.Enum) else str(error)
        raise ValueError(f"{place}: {message}") from error


def _checked(data: Any, kind: type, place: str) -> Any:  # noqa: ANN401
    if type(data) is not kind:
        raise ValueError(f"{place or 'the document'} is {data!r:.40}, not of type {kind.__name__}")
    return data


def _inside(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)
