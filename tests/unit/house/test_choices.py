"""No choice forgets a name: tables over an enum are whole, matches end in assert_never, every key is read somewhere."""

from __future__ import annotations

import ast
import dataclasses
import enum
import importlib
import typing
from collections.abc import Iterator
from pathlib import Path

from builder.model.entry import TreeEntry
from builder.model.recipe import Distribution, Recipe
from builder.model.site import Site

BUILDER = Path(__file__).parents[3] / "builder"
MODULES = {
    path.relative_to(BUILDER.parent).as_posix(): ast.parse(path.read_text("utf-8")) for path in BUILDER.rglob("*.py")
}
# tables that mean to name only some: where, and the enum
PARTIAL = {
    ("builder/bootlab/timeline.py", "Milestone"),  # the others are seen in the servers' logs
    ("builder/distributions/apt.py", "Architecture"),  # recipes of Debian take this one alone
    ("builder/loaders/grub.py", "Architecture"),  # what it has files for
    ("builder/loaders/grub.py", "ClientArchitecture"),
    ("builder/loaders/grub.py", "DistributionName"),  # who signs kernels
    ("builder/loaders/ipxe.py", "ClientArchitecture"),  # what it has files for
    ("builder/loaders/pxelinux.py", "ClientArchitecture"),
    ("builder/model/site/network.py", "DhcpOptionType"),  # those that are numbers
    ("builder/probes/configured/inclusion.py", "Format"),  # the programs that can be asked
    ("builder/render/image/network.py", "NetworkClient"),  # none writes nothing
    ("builder/render/server/dnsmasq_addresses.py", "DhcpOptionType"),  # those that are numbers
    ("builder/render/server/files.py", "Format"),  # the others are written by functions of their own
    ("builder/render/server/proxy.py", "ClientArchitecture"),  # a proxy's menu is for TFTP
    ("builder/server_config/guest.py", "Format"),  # those that have a port
    ("builder/server_config/texts.py", "Format"),  # those that need something of the site
}
# read by name before there is a recipe: builder/reading/
OF_THE_READER = {("Recipe", "schema"), ("Site", "schema")}


def enums() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and any("Enum" in ast.unparse(base) for base in node.bases):
                kind = getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), node.name)
                assert issubclass(kind, enum.Enum)
                found.setdefault(node.name, []).extend(kind.__members__)
    return found


def tables(tree: ast.AST, names: dict[str, list[str]]) -> Iterator[tuple[str, set[str]]]:
    """The enum and the members of every dict literal whose keys are all of one enum."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict) and node.keys:
            keys = [key for key in node.keys if isinstance(key, ast.Attribute) and isinstance(key.value, ast.Name)]
            kinds = {key.value.id for key in keys if isinstance(key.value, ast.Name)}
            if len(keys) == len(node.keys) and len(kinds) == 1 and (kind := kinds.pop()) in names:
                yield kind, {key.attr for key in keys}


def is_open(statement: ast.Match) -> bool:
    return "assert_never(" not in ast.unparse(statement.cases[-1])


def isinstance_choices(tree: ast.AST, members: set[str]) -> Iterator[str]:
    """Branches on which member of a union something is: those that a new member would fall through."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If | ast.IfExp):
            text = ast.unparse(node.test).removeprefix("not ")
            if text.startswith("isinstance(") and any(text.endswith(f", {name})") for name in members):
                yield text


def keys_of(kind: object, found: dict[str, type]) -> dict[str, type]:
    for inner in typing.get_args(kind):
        keys_of(inner, found)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind.__name__ not in found:
        found[kind.__name__] = kind
        for hint in typing.get_type_hints(kind).values():
            keys_of(hint, found)
    return found


def test_every_table_over_an_enum_is_whole() -> None:
    names = enums()
    seen = [(path, *table) for path, tree in MODULES.items() for table in tables(tree, names)]
    assert len(seen) > 20
    short = {(path, kind) for path, kind, members in seen if members != set(names[kind])}
    assert short == PARTIAL


def test_every_match_ends_in_assert_never() -> None:
    seen = [(path, node) for path, tree in MODULES.items() for node in ast.walk(tree) if isinstance(node, ast.Match)]
    assert seen
    assert [f"{path}:{node.lineno}" for path, node in seen if is_open(node)] == []


def test_no_branch_asks_for_one_member_of_a_union() -> None:
    initramfs = typing.get_type_hints(Recipe)["initramfs"]
    members = {kind.__name__ for union in (Distribution, TreeEntry, initramfs) for kind in typing.get_args(union)}
    assert len(members) >= 6
    assert [(path, text) for path, tree in MODULES.items() for text in isinstance_choices(tree, members)] == []


def test_every_key_is_read_outside_the_checks() -> None:
    trees = [tree for path, tree in MODULES.items() if not path.startswith("builder/checks/")]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    read = {node.attr for node in nodes if isinstance(node.ctx, ast.Load)}
    kinds = keys_of(Recipe, keys_of(Site, {}))
    assert len(kinds) > 15
    keys = {(name, field.name) for name, kind in kinds.items() for field in dataclasses.fields(kind)}
    assert {key for key in keys if key[1] not in read} == OF_THE_READER


def test_what_is_forgotten_is_seen() -> None:
    forgetful = ast.parse(
        "X = {Init.A: 1}\nmatch x:\n    case A():\n        pass\nif not isinstance(entry, TreeFile):\n    y()"
    )
    assert list(tables(forgetful, {"Init": ["A", "B"]})) == [("Init", {"A"})]
    assert [is_open(node) for node in ast.walk(forgetful) if isinstance(node, ast.Match)] == [True]
    assert list(isinstance_choices(forgetful, {"TreeFile"})) == ["isinstance(entry, TreeFile)"]
