"""The recipe reference, docs/recipe.md, made from the model: `python -m builder.render.reference > docs/recipe.md`."""

from __future__ import annotations

import dataclasses
import enum
import sys
import types
import typing
from typing import Annotated, Any, get_args, get_origin

from builder.model.recipe import Recipe

_HEAD = """\
# Recipe reference

Made from the model by `make docs`; do not edit. A recipe is one YAML file and makes one image. Every key is checked:
an unknown or repeated one, a value of another kind, or a contradiction is an error that names line and column.
`diskless check --show RECIPE` prints every file that a recipe writes. The recipes in `recipes/` teach by example.
"""


def recipe_reference() -> str:
    """The whole page, in Markdown."""
    sections = [_HEAD]
    pending: list[tuple[str, type]] = [("The recipe", Recipe)]
    while pending:
        title, kind = pending.pop(0)
        sections.append(_section(title, kind))
        hints = typing.get_type_hints(kind, include_extras=True)
        pending += [
            (_nested_title(title, field.name), nested)
            for field in dataclasses.fields(kind)
            if (nested := _nested(hints[field.name])) is not None
        ]
    return "\n".join(sections)


def _section(title: str, kind: type) -> str:
    hints = typing.get_type_hints(kind, include_extras=True)
    rows = [_row(field, hints[field.name]) for field in dataclasses.fields(kind)]
    head = ["| key | value | left out | meaning |", "|---|---|---|---|"]
    heading = title if kind is Recipe else f"`{title}`"
    return "\n".join([f"## {heading}", "", (kind.__doc__ or "").strip(), "", *head, *rows, ""])


def _row(field: dataclasses.Field[Any], hint: Any) -> str:  # noqa: ANN401 - hint is any annotation
    meaning = field.metadata["doc"].replace("|", "\\|")
    return f"| `{field.name}` | {_value(_required(hint))} | {_left_out(field)} | {meaning} |"


def _left_out(field: dataclasses.Field[Any]) -> str:
    if field.default is dataclasses.MISSING:
        return "required" if field.default_factory is dataclasses.MISSING else "its defaults"
    return _written(field.default)


def _written(default: object) -> str:
    """A default as a recipe would have it."""
    if default is None:
        return "-"
    if isinstance(default, tuple):
        return f"`[{', '.join(map(_plain, default))}]`"
    return f"`{_plain(default)}`"


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value.value if isinstance(value, enum.Enum) else value)


def _value(kind: Any) -> str:  # noqa: ANN401
    """What may be written, in words."""
    if get_origin(kind) is tuple:
        return f"list of: {_value(get_args(kind)[0])}"
    if dataclasses.is_dataclass(kind):
        return "keys, see below"
    if get_origin(kind) is Annotated:
        syntax = kind.__metadata__[0]
        return f"{syntax.name}, e.g. `{syntax.example}`"
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return ", ".join(f"`{member.value}`" for member in kind)
    return {bool: "`true`, `false`", int: "number", str: "text"}[kind]


def _nested(hint: Any) -> type | None:  # noqa: ANN401
    """The dataclass that the values of a key are."""
    kind = _required(hint)
    if get_origin(kind) is tuple:
        kind = get_args(kind)[0]
    return typing.cast("type", kind) if dataclasses.is_dataclass(kind) else None


def _required(hint: Any) -> Any:  # noqa: ANN401
    if get_origin(hint) in (types.UnionType, typing.Union):
        return next(option for option in get_args(hint) if option is not type(None))
    return hint


def _nested_title(title: str, name: str) -> str:
    return name if title == "The recipe" else f"{title}.{name}"


if __name__ == "__main__":
    sys.stdout.write(recipe_reference())
