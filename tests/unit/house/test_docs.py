"""What the documents show is what the product writes."""

from __future__ import annotations

import json
import re
import subprocess
import textwrap
from pathlib import Path

from builder.cli.main import COMMANDS
from builder.cli.manual import manual_page
from builder.model.site import Site
from builder.reading import load_site
from builder.render.documents.events import events_reference
from builder.render.documents.reference import recipe_reference, site_reference
from builder.render.documents.schema import json_schema
from builder.render.server.files import Format, server_files
from tests.images import ROOT
from tests.require import needs_tool
from tests.shares import served

SHOWN = (Format.DNSMASQ, Format.DNSMASQ_PROXY, Format.DHCPD, Format.EXPORTS, Format.FIREWALL, Format.SERVICES)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_texts_do_not_depend_on_python() -> None:
    """From 3.13 on docstrings have no indentation."""
    definitions = json.loads(json_schema("recipe"))["$defs"]
    assert [name for name, one in definitions.items() if "\n " in one["description"]] == []


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
    for command in COMMANDS:
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


def test_the_server_page_shows_the_texts_of_the_site_that_it_shows(tmp_path: Path) -> None:
    page = read("docs/server.md")
    blocks = re.findall(r"(?:^    .*\n|(?<=\n)\n(?=    ))+", page, re.M)
    (tmp_path / "site.yml").write_text(textwrap.dedent(next(block for block in blocks if "mac:" in block)), "utf-8")
    site = load_site(tmp_path / "site.yml")
    shown = {form: [f.text for f in server_files(form, site, served("/disklessroot"))] for form in SHOWN}
    for form, texts in shown.items():
        for text in texts:
            assert textwrap.indent(text, "    ") in page, form


def test_the_server_page_has_every_format_and_its_place() -> None:
    rows = {row.split("`")[1]: row for row in read("docs/server.md").splitlines() if row.startswith("| `")}
    assert set(rows) == set(Format)
    site = Site(server="192.168.1.1", http_port=80)
    for form in Format:
        for file in server_files(form, site, served("/disklessroot")):
            assert file.path is None or file.path in rows[form] or "systemd unit" in rows[form]


def test_every_command_is_in_the_readme_and_the_changelog() -> None:
    for command in COMMANDS:
        assert f"diskless {command}" in read("README.md")
        assert f"`diskless {command}`" in read("CHANGELOG.md")
