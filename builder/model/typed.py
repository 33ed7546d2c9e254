"""Whether a value read from outside really has the types that its dataclass declares."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any


def conforms(value: object, hint: Any) -> bool:  # noqa: ANN401 - hint is any annotation
    """Whether `value` is a `hint`, all the way down."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (tuple, Sequence):
        return isinstance(value, tuple) and all(conforms(item, arguments[0]) for item in value)
    if origin in (dict, Mapping):
        return isinstance(value, dict) and all(conforms(item, arguments[1]) for item in value.values())
    if origin is types.UnionType:
        return any(conforms(value, option) for option in arguments)
    if dataclasses.is_dataclass(hint):
        return type(value) is hint and all(conforms(getattr(value, name), kind) for name, kind in _fields(hint))
    return type(value) is hint


@functools.cache
def _fields(kind: type) -> tuple[tuple[str, Any], ...]:
    return tuple(typing.get_type_hints(kind).items())
