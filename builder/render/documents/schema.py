"""JSON Schema (2020-12) of the recipe and the site, made from the model: what editors complete and check.

It says less than the loader: contradictions between keys are the loader's alone.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
import re
import types
import typing
from typing import Annotated, Any, get_args, get_origin

from builder.model.recipe import Recipe
from builder.model.site import Site
from builder.model.syntax import Syntax

KINDS: dict[str, type] = {"recipe": Recipe, "site": Site}
# what YAML takes for a number or a truth value, the loader takes as it is written
_WORDS = {"number": ("7", "10", "3.10", "20261101", "0644"), "boolean": ("true", "false", "yes", "no")}
Schema = dict[str, Any]


def json_schema(name: str) -> str:
    """The schema of `recipe` or `site`, as a text that ends with a line break."""
    definitions: dict[str, Schema] = {}
    top = _object(KINDS[name], definitions)
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"diskless {name}",
        **top,
        "$defs": {key: definitions[key] for key in sorted(definitions)},
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _object(kind: type, definitions: dict[str, Schema]) -> Schema:
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = dataclasses.fields(kind)
    required = [
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    return {
        "type": "object",
        "description": inspect.cleandoc(kind.__doc__ or ""),
        "properties": {field.name: _property(field, hints[field.name], definitions) for field in fields},
        "required": required,
        "additionalProperties": False,
    }


def _property(field: dataclasses.Field[Any], hint: Any, definitions: dict[str, Schema]) -> Schema:  # noqa: ANN401
    schema: Schema = {"description": field.metadata["doc"], **_value(hint, definitions)}
    allowed = field.metadata.get("allowed")
    if allowed:
        schema = {"description": field.metadata["doc"], "enum": [word for item in allowed for word in _written(item)]}
    if field.default not in (dataclasses.MISSING, None):
        schema["default"] = _plain(field.default)
    return schema


def _value(hint: Any, definitions: dict[str, Schema]) -> Schema:  # noqa: ANN401
    if get_origin(hint) in (types.UnionType, typing.Union):
        options = [_value(option, definitions) for option in get_args(hint) if option is not type(None)]
        return options[0] if len(options) == 1 else {"oneOf": options}
    if get_origin(hint) is tuple:
        return {"type": "array", "items": _value(get_args(hint)[0], definitions)}
    if dataclasses.is_dataclass(hint):
        kind = typing.cast("type", hint)
        if kind.__name__ not in definitions:
            definitions[kind.__name__] = {}
            definitions[kind.__name__] = _object(kind, definitions)
        return _with_short_form(kind, {"$ref": f"#/$defs/{kind.__name__}"})
    if get_origin(hint) is Annotated:
        return _text(hint.__metadata__[0])
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return {"enum": [word for member in hint for word in _written(member)]}
    plain: dict[type, Schema] = {
        bool: {"type": "boolean"},
        int: {"type": "integer", "minimum": 0},
        str: {"type": ["string", "number", "boolean"]},
    }
    return plain[hint]


def _with_short_form(kind: type, whole: Schema) -> Schema:
    """Of a kind whose first key may be written alone, either form."""
    first = dataclasses.fields(kind)[0]
    if not first.metadata.get("short"):
        return whole
    hint = typing.get_type_hints(kind, include_extras=True)[first.name]
    return {"anyOf": [_value(hint, {}), whole]}


def _text(syntax: Syntax) -> Schema:
    """A kind of text. A pattern holds for strings only, so that a number may pass beside it."""
    kinds = ["string", *(kind for kind, words in _WORDS.items() if any(map(syntax.accepts, words)))]
    return {
        "title": syntax.name,
        "type": kinds[0] if len(kinds) == 1 else kinds,
        "pattern": f"^(?:{syntax.pattern})$".replace("\\Z", "$"),
        "examples": [syntax.example],
    }


def _written(value: object) -> list[object]:
    """How a fixed value may be written: `3` is a number to YAML, whatever we make of it."""
    plain = value.value if isinstance(value, enum.Enum) else value
    if isinstance(plain, str) and re.fullmatch(r"\d+(\.\d+)?", plain):
        return [plain, float(plain) if "." in plain else int(plain)]
    return [plain]


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in _set_fields(value)}
    return value.value if isinstance(value, enum.Enum) else value


def _set_fields(value: Any) -> list[dataclasses.Field[Any]]:  # noqa: ANN401
    return [field for field in dataclasses.fields(value) if getattr(value, field.name) != field.default]
