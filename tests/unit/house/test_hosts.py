"""tests/hosts: what a stranger's machine takes over, what runs in it, and how it is told."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from builder.bootlab import dhcp, network
from builder.bootlab.machine import accelerator
from builder.bootlab.nfs import Ganesha
from builder.installers.apt.installer import AptInstaller
from builder.installers.keyrings.gnupg import TOOLS as GNUPG
from builder.installers.pacman.installer import PacmanInstaller
from builder.model.recipe import DistributionName
from builder.system.sandbox.sandbox import TOOLS as SANDBOX
from tests.hosts.cells import CELLS, RELEASES, USERS, cell_commands, parse_readme, select_cells
from tests.hosts.outside import chosen_variables, named_paths, parse_pip, render_pip, translate_sources
from tests.hosts.table import Row, render_json, render_table

_README = """# x

    apt-get install -y git make      # on Debian; on Arch Linux: pacman -S git make
    make build                       # installs what is missing
    make boot
    make test

Then:

    diskless build recipes/debian-nfs.yml            # output
    diskless boot debian-nfs                         # from power-on
"""


def test_the_readme_says_what_a_stranger_types() -> None:
    readme = parse_readme(_README)
    assert readme.packages == ("git", "make")
    typed = [(command.name, command.line) for command in readme.commands]
    assert typed == [
        ("make build", "make build"),
        ("make lint", "make lint"),
        ("make boot", "make boot"),
        ("diskless boot", "diskless boot debian-nfs"),
        ("make test", "make test"),
    ]


@pytest.mark.parametrize("missing", ["apt-get install", "make build", "make boot", "make test", "diskless boot"])
def test_a_readme_that_no_longer_says_it_is_an_error(missing: str) -> None:
    with pytest.raises(ValueError, match=missing):
        parse_readme(_README.replace(missing, "something else"))


def test_the_readme_of_this_checkout_is_understood() -> None:
    parse_readme(Path("README.md").read_text(encoding="utf-8"))


def test_every_pair_is_tested_and_every_variation_is_in_both_releases() -> None:
    tested = {(cell.release, cell.user) for cell in CELLS if cell.tested}
    assert tested == {(release, user) for release in RELEASES for user in USERS}
    varied = {(cell.release, cell.variation.name) for cell in CELLS}
    assert varied == {(release, name) for release in RELEASES for _, name in varied}
    assert {cell.variation.name for cell in CELLS if cell.tested} == {name for _, name in varied}


def test_cells_are_chosen_by_pattern() -> None:
    assert [cell.name for cell in select_cells(["bookworm-*-tmp"])] == ["bookworm-root-tmp"]
    assert select_cells([]) == list(CELLS)
    with pytest.raises(ValueError, match=r"no cell is named sid-\*; there are bookworm-root-tmp, "):
        select_cells(["bookworm-*", "sid-*"])


def test_a_user_types_sudo_where_the_readme_says_so() -> None:
    readme = parse_readme(_README)
    lines = {
        cell.name: [command.line for command in cell_commands(cell, readme, ["diskless *"])]
        for cell in select_cells(["trixie-*"])
    }
    assert lines["trixie-root-umask"] == [". .venv/bin/activate && diskless boot debian-nfs"]
    assert lines["trixie-user-tmp"] == ["sudo .venv/bin/diskless boot debian-nfs"]


def test_only_the_four_pairs_run_all_tests() -> None:
    readme = parse_readme(_README)
    last = {cell.name: cell_commands(cell, readme, [])[-1].name for cell in CELLS}
    assert {name for name, command in last.items() if command == "make test"} == {
        cell.name for cell in CELLS if cell.tested
    }


def test_variables_that_lead_to_mirrors_are_taken_over() -> None:
    taken = ("https_proxy", "NO_PROXY", "PIP_INDEX_URL", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO")
    left = ("HOME", "PATH", "LC_ALL", "AWS_SECRET_ACCESS_KEY", "PYTHONPATH")
    assert set(chosen_variables(dict.fromkeys((*taken, *left), "x"))) == set(taken)


def test_the_settings_of_pip_become_one_file() -> None:
    listed = (
        ":env:.cert='/etc/ssl/x'\n"
        "global.find-links='/opt/wheels'\n"
        "install.no-binary='a'\n"
        "global.extra-index-url='file:///opt/a%20b/simple\\nhttps://pip.example/simple'\n"
    )
    settings = parse_pip(listed)
    assert render_pip(settings) == (
        "[global]\nfind-links = /opt/wheels\nextra-index-url = file:///opt/a%20b/simple\n"
        "    https://pip.example/simple\n[install]\nno-binary = a\n"
    )
    assert named_paths(settings.values()) == [Path("/opt/wheels"), Path("/opt/a b")]


def test_the_mirrors_of_one_release_are_those_of_another() -> None:
    lines = [
        "http://deb.example/debian/ bookworm main",
        "http://deb.example/debian/ bookworm-updates main",
        "http://deb.example/debian-security/ bookworm-security main",
        "https://other.example/packages/ stable main",
    ]
    assert translate_sources(lines, "bookworm", "trixie") == [
        "deb http://deb.example/debian/ trixie main",
        "deb http://deb.example/debian/ trixie-updates main",
        "deb http://deb.example/debian-security/ trixie-security main",
    ]
    assert translate_sources(lines, "none", "trixie") == []


def test_results_are_a_table_or_json() -> None:
    rows = [
        Row("bookworm", "root", "tmp", "3.11.2", "make build", "passed", 2.04),
        Row("trixie", "user", "locale", "3.13.5", "make lint", "failed: exit status 2", 0.5),
    ]
    assert render_table(rows) == (
        "host      user  variation  python  command     result                 minutes\n"
        "bookworm  root  tmp        3.11.2  make build  passed                 2.0\n"
        "trixie    user  locale     3.13.5  make lint   failed: exit status 2  0.5\n"
    )
    assert [row["result"] for row in json.loads(render_json(rows))] == ["passed", "failed: exit status 2"]
    assert [row.failed for row in rows] == [False, True]


def test_make_boot_installs_what_a_boot_needs() -> None:
    """As `diskless boot` names it where it is missing: a README's reader need not run `make test` before."""
    makefile = Path("Makefile").read_text(encoding="utf-8")
    assert ".ci/host-packages build '$(RECIPE)' boot\n" in makefile
    text = Path(".ci/host-packages").read_text(encoding="utf-8")
    lists = re.findall(r'^debian_(?:base|build|boot)\w*="([^"]*)"', text, re.MULTILINE)
    packages = {name for names in lists for name in names.split()}
    tools = (*accelerator.TOOLS, *network.TOOLS, *dhcp.TOOLS, *Ganesha.tools)
    assert {name for tool in tools for name in (tool.packages[DistributionName.DEBIAN] or "").split()} <= packages


def test_make_build_installs_what_recipes_of_both_distributions_need() -> None:
    """Debian 13's apt brings no gpgv, which Debian 12's does: only the lists say what is needed."""
    text = Path(".ci/host-packages").read_text(encoding="utf-8")
    listed = re.findall(r'^debian_(?:base|build_\w+)="([^"]*)"', text, re.MULTILINE)
    packages = {name for names in listed for name in names.split()}
    tools = (*AptInstaller.tools(), *PacmanInstaller.tools(), *GNUPG, *SANDBOX)
    assert {name for tool in tools for name in (tool.packages[DistributionName.DEBIAN] or "").split()} <= packages
