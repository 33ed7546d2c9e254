"""What the documents show is what the product writes."""

from __future__ import annotations

import textwrap

from builder.cli.main import cli
from builder.render.events import events_reference
from builder.render.reference import recipe_reference, site_reference
from builder.render.schema import json_schema
from builder.render.server import DhcpService, Export, dnsmasq_config, exports
from tests.images import ROOT


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_recipe_reference_is_made_from_the_model() -> None:
    assert read("docs/recipe.md") == recipe_reference(), "run `make docs`"


def test_the_site_reference_is_made_from_the_model() -> None:
    assert read("docs/site.md") == site_reference(), "run `make docs`"


def test_the_schema_beside_the_recipes_is_made_from_the_model() -> None:
    assert read("recipes/recipe.schema.json") == json_schema("recipe"), "run `make docs`"


def test_the_events_are_described_from_the_model() -> None:
    assert read("docs/events.md") == events_reference(), "run `make docs`"


def test_the_server_page_shows_the_rendered_texts() -> None:
    root = "/srv/nfs/debian-nfs"
    service = DhcpService(
        interface="eth1",
        address="192.168.1.1",
        netmask="255.255.255.0",
        first="192.168.1.100",
        last="192.168.1.199",
        tftp_root="/srv/tftp",
        root_path=f"192.168.1.1:{root}",
        router="192.168.1.1",
        nameservers=("192.168.1.1",),
    )
    for text in (dnsmasq_config(service), exports([Export(root, root, "192.168.1.0/24", 1, writable=True)])):
        assert textwrap.indent(text, "    ") in read("docs/server.md")


def test_every_command_is_in_the_readme_and_the_changelog() -> None:
    for command in cli.commands:
        assert f"diskless {command}" in read("README.md")
        assert f"`diskless {command}`" in read("CHANGELOG.md")
