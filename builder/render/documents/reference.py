"""The references docs/recipe.md and docs/site.md, made from the model.

`python -m builder.render.documents.reference recipe` writes one to standard output.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import ipaddress
import sys
import textwrap
import types
import typing
from typing import Annotated, Any, get_args, get_origin

from builder.model.recipe import DistributionName, Recipe, RootMode
from builder.model.site import Site
from builder.render.documents.starter import Answers, address_range, recipe_text, site_text

_RECIPE_HEAD = """\
# Recipe reference

Made from the model by `make docs`; do not edit. A recipe is one YAML file and makes one image. Every key is checked:
an unknown or repeated one, a value of another kind, or a contradiction is an error that names line and column.
`diskless check --show RECIPE` prints every file that a recipe writes. The recipes in `recipes/` teach by example;
editors complete from the schema beside them, which `diskless schema` prints.
"""
_SITE_HEAD = """\
# Site reference

Made from the model by `make docs`; do not edit. `site.yml` lies in the directory that images are deployed to, and says
what a server knows of its network and its clients. It is checked as recipes are. `diskless init` writes a first one.
"""
_SERVER = ipaddress.IPv4Interface("192.168.1.1/24")
_EXAMPLE = Answers(
    DistributionName.DEBIAN,
    "debian-nfs",
    RootMode.OVERLAY,
    _SERVER,
    suite="bookworm",
    interface="eth1",
    dhcp=address_range(_SERVER),
    nameservers=("192.168.1.1",),
    ssh_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI... admin@example.org",
)


def recipe_reference() -> str:
    """docs/recipe.md."""
    return _reference(_RECIPE_HEAD, "The recipe", Recipe, recipe_text(_EXAMPLE))


def site_reference() -> str:
    """docs/site.md."""
    return _reference(_SITE_HEAD, "The site", Site, site_text(_EXAMPLE))


def _reference(head: str, top: str, kind: type, example: str) -> str:
    sections = [head]
    pending: list[tuple[str, type]] = [(top, kind)]
    while pending:
        title, inner = pending.pop(0)
        sections.append(_section(title, inner, top))
        hints = typing.get_type_hints(inner, include_extras=True)
        pending += [
            (field.name if title == top else f"{title}.{field.name}", nested)
            for field in dataclasses.fields(inner)
            for nested in _nested(hints[field.name])
        ]
    return "\n".join([*sections, f"## A whole one, as `diskless init` writes it\n\n{textwrap.indent(example, '    ')}"])


def _section(title: str, kind: type, top: str) -> str:
    hints = typing.get_type_hints(kind, include_extras=True)
    rows = [_row(field, hints[field.name]) for field in dataclasses.fields(kind)]
    head = ["| key | value | left out | meaning |", "|---|---|---|---|"]
    choice = _choice(kind)
    heading = title if title == top else f"`{title}`" + (f" with `{choice}`" if choice else "")
    return "\n".join([f"## {heading}", "", inspect.cleandoc(kind.__doc__ or ""), "", *head, *rows, ""])


def _row(field: dataclasses.Field[Any], hint: Any) -> str:  # noqa: ANN401 - hint is any annotation
    meaning = field.metadata["doc"].replace("|", "\\|")
    allowed = field.metadata.get("allowed")
    value = ", ".join(f"`{_plain(member)}`" for member in allowed) if allowed else _value(_options(hint)[0])
    return f"| `{field.name}` | {value} | {_left_out(field)} | {meaning} |"


def _choice(kind: type) -> str | None:
    """What is written for the first key where it chooses between several kinds of keys: `name: arch`."""
    first = dataclasses.fields(kind)[0]
    if not isinstance(next(iter(first.metadata.get("allowed", ())), None), enum.Enum):
        return None
    return f"{first.name}: {_plain(first.metadata['allowed'][0])}"


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
    if dataclasses.is_dataclass(value):
        pairs = ((field.name, getattr(value, field.name), field.default) for field in dataclasses.fields(value))
        return "{" + ", ".join(f"{name}: {_plain(item)}" for name, item, default in pairs if item != default) + "}"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value.value if isinstance(value, enum.Enum) else value)


def _value(kind: Any) -> str:  # noqa: ANN401
    """What may be written, in words."""
    if get_origin(kind) is tuple:
        return f"list of: {_value(get_args(kind)[0])}"
    if dataclasses.is_dataclass(kind):
        first = dataclasses.fields(kind)[0]
        return f"`{first.name}` alone, or keys, see below" if first.metadata.get("short") else "keys, see below"
    if get_origin(kind) is Annotated:
        syntax = kind.__metadata__[0]
        return f"{syntax.name}, e.g. `{syntax.example}`"
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return ", ".join(f"`{member.value}`" for member in kind)
    return {bool: "`true`, `false`", int: "number", str: "text"}[kind]


def _nested(hint: Any) -> list[type]:  # noqa: ANN401
    """The dataclasses that the values of a key can be."""
    kinds = [get_args(kind)[0] if get_origin(kind) is tuple else kind for kind in _options(hint)]
    return [typing.cast("type", kind) for kind in kinds if dataclasses.is_dataclass(kind)]


def _options(hint: Any) -> list[Any]:  # noqa: ANN401
    """What a key may be, besides left out."""
    if get_origin(hint) in (types.UnionType, typing.Union):
        return [option for option in get_args(hint) if option is not type(None)]
    return [hint]


if __name__ == "__main__":
    sys.stdout.write({"recipe": recipe_reference, "site": site_reference}[sys.argv[1]]())
