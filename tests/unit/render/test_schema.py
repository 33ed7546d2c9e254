"""The schemas that editors use: every recipe of ours passes, and most faults are found."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from builder.render.documents.schema import KINDS, json_schema
from tests.command import run_command
from tests.images import ROOT

RECIPES = sorted((ROOT / "recipes").glob("*.yml"))
BAD = sorted((ROOT / "tests/recipes/bad").glob("*.yml"))


class Loader(yaml.SafeLoader):
    """YAML 1.2's core schema, as editors read it: no dates, and only `true` and `false` are truth values."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 - replaces the parent's table


for tag, pattern, first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("merge", r"<<", "<"),
):
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), list(first))


def load(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=Loader)


def validator(kind: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(json_schema(kind)))


def check_site(path: Path) -> dict[str, Any]:
    """The values of a site file that must be good."""
    values: dict[str, Any] = load(path)
    validator("site").validate(values)
    return values


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_schemas_are_schemas(kind: str) -> None:
    schema = json.loads(json_schema(kind))
    jsonschema.Draft202012Validator.check_schema(schema)
    for part in (schema, *schema["$defs"].values()):
        assert part["additionalProperties"] is False
        assert part["description"]
        assert all(value["description"] for value in part["properties"].values())


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_passes_and_names_its_schema(recipe: Path) -> None:
    validator("recipe").validate(load(recipe))
    first = recipe.read_text(encoding="utf-8").splitlines()[0]
    found = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
    assert found, first
    assert (recipe.parent / found[1]).is_file()


@pytest.mark.parametrize("script", ["files/setup.sh", {"source": "files/setup.sh"}])
def test_what_may_be_written_short_passes_in_both_forms(script: object) -> None:
    recipe = load(ROOT / "recipes/debian-nfs.yml")
    validator("recipe").validate({**recipe, "scripts": [script]})


@pytest.mark.parametrize("keyring", ["/srv/ring.gpg", {"path": "/srv/ring.gpg"}, {"newest": True}])
@pytest.mark.parametrize("recipe", ["debian-nfs", "arch-nfs"])
def test_a_keyring_passes_in_both_forms(recipe: str, keyring: object) -> None:
    values = load(ROOT / f"recipes/{recipe}.yml")
    validator("recipe").validate({**values, "distribution": {**values["distribution"], "keyring": keyring}})


def test_bad_recipes_fail_but_for_contradictions() -> None:
    schema = validator("recipe")
    passed: set[str] = set()
    failed: set[str] = set()
    for path in BAD:
        try:
            values = load(path)
        except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError):
            continue
        try:
            (passed if schema.is_valid(values) else failed).add(path.stem)
        except RecursionError:
            failed.add(path.stem)
    assert {"unknown-key", "missing-key", "bad-mode", "bad-address", "bad-image-name"} <= failed | passed
    # what contradicts itself is the loader's alone
    assert len(failed) > 60, sorted(passed)
    assert not passed & {"unknown-key", "missing-key", "bad-mode", "bad-image-name", "schema-of-the-future"}


@pytest.mark.parametrize(
    ("values", "good"),
    [
        ({"schema": 1, "server": "192.168.1.1"}, True),
        ({"schema": 1, "server": "192.168.1.1", "http_port": 80, "clients": [{"mac": "52:54:00:12:34:56"}]}, True),
        ({"schema": 2, "server": "192.168.1.1"}, False),
        ({"schema": 1}, False),
        ({"schema": 1, "server": "here"}, False),
        ({"schema": 1, "server": "192.168.1.1", "clients": [{"mac": "52:54"}]}, False),
        ({"schema": 1, "server": "192.168.1.1", "dhcp": {"first": "192.168.1.9"}}, False),
        ({"schema": 1, "server": "192.168.1.1", "menu": 1}, False),
    ],
)
def test_sites(values: dict[str, Any], good: bool) -> None:
    assert validator("site").is_valid(values) is good


def test_the_command_prints_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(capsys, "schema") == (0, json_schema("recipe"), "")
    assert run_command(capsys, "schema", "site") == (0, json_schema("site"), "")
    assert run_command(capsys, "schema", "lock")[0] == 2
