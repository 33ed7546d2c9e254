"""Large files and two parsers: what is read does not depend on which one read it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from builder.errors import InputError
from builder.reading import load_site
from tests.images import ROOT

CLIENTS = 10_000
HEAD = "server: 10.1.255.1\ninterface: eth0\nsubnet: 10.0.0.0/8\n"


def shown(node: yaml.Node) -> object:
    """What messages and values are made of."""
    mark = (node.tag, node.start_mark.line, node.start_mark.column)
    if isinstance(node, yaml.MappingNode):
        return mark, [(shown(key), shown(value)) for key, value in node.value]
    return mark, [shown(item) for item in node.value] if isinstance(node, yaml.SequenceNode) else node.value


@pytest.mark.skipif(not yaml.__with_libyaml__, reason="this PyYAML has no parser in C")
@pytest.mark.parametrize("path", sorted(ROOT.glob("recipes/*.yml")), ids=lambda path: path.name)
def test_both_parsers_give_the_same_nodes(path: Path) -> None:
    text = path.read_text("utf-8")
    fast, slow = (yaml.compose(text, Loader=loader) for loader in (yaml.CSafeLoader, yaml.SafeLoader))
    assert fast is not None
    assert slow is not None
    assert shown(fast) == shown(slow)


@pytest.mark.parametrize("in_c", [True, False])
def test_a_fault_is_told_in_the_same_words(in_c: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml, "__with_libyaml__", in_c and yaml.__with_libyaml__)
    path = tmp_path / "site.yml"
    path.write_text("server: 10.0.0.1\nclients: [{mac: a\n", "ascii")
    with pytest.raises(InputError, match=r"site\.yml:3:1: not YAML.*that begins on line 2: expected ',' or '}'"):
        load_site(path)


def test_a_site_of_many_clients(tmp_path: Path) -> None:
    """Each with its image and its pin: no bound on what an alias may stand for is in their way."""
    lines = (
        f"  - {{mac: '52:54:00:00:{number // 256:02x}:{number % 256:02x}', name: lab{number}, image: debian-nfs,"
        f" version: 20260102-0123abcd, address: 10.1.{number // 250}.{number % 250 + 1}}}\n"
        for number in range(CLIENTS)
    )
    path = tmp_path / "site.yml"
    path.write_text(f"{HEAD}clients:\n{''.join(lines)}", "ascii")
    site = load_site(path)
    assert len(site.clients) == CLIENTS
    assert str(site.clients[-1].version) == "20260102-0123abcd"


def test_aliases_that_stand_for_more_than_was_written(tmp_path: Path) -> None:
    path = tmp_path / "site.yml"
    path.write_text(f"{HEAD}clients: [&one {{mac: '52:54:00:00:00:01', name: lab1}}{', *one' * 20_000}]\n", "ascii")
    with pytest.raises(InputError, match=r"its aliases \(\*name\) stand for more than 50000 values"):
        load_site(path)
