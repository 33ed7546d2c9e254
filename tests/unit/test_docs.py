"""What the documents show is what the product writes."""

from __future__ import annotations

import re
import subprocess
import textwrap

from builder.cli.main import cli
from builder.cli.manual import manual_page
from builder.render.events import events_reference
from builder.render.reference import recipe_reference, site_reference
from builder.render.schema import json_schema
from builder.render.server import DhcpService, Export, dnsmasq_config, exports
from tests.images import ROOT
from tests.require import needs_tool


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


def test_the_manual_page_is_made_from_the_commands() -> None:
    page = read("docs/diskless.1")
    assert page == manual_page(), "run `make docs`"
    for command in cli.commands:
        assert f".SS diskless {command.replace('-', chr(92) + '-')}" in page


@needs_tool("mandoc")
def test_the_manual_page_has_no_fault() -> None:
    page = ROOT / "docs/diskless.1"
    lint = ["mandoc", "-T", "lint", "-W", "warning", str(page)]
    found = subprocess.run(lint, capture_output=True, encoding="utf-8", check=False)
    assert (found.returncode, found.stdout) == (0, "")
    shown = subprocess.run(["mandoc", "-T", "utf8", page], capture_output=True, encoding="utf-8", check=True).stdout
    plain = re.sub(".\b", "", shown)
    assert "--events FILE" in plain
    assert 'eval "$(diskless completion bash)"' in plain


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
