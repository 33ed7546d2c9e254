"""Inits: each keeps the contract, and whatever asks for one asks the table."""

from __future__ import annotations

import dataclasses
import posixpath
from pathlib import Path

import pytest

from builder.bootlab.settings import KERNEL_ARGUMENTS
from builder.bootlab.timeline import Logs, Milestone, find_milestones
from builder.inits.base import LEASE, RENEWER_SCRIPT, RESOLVER, EarlyService, Init
from builder.inits.initscripts import Initscripts
from builder.inits.systemd import Systemd
from builder.inits.table import INITS, running_init
from builder.model.entry import TreeFile
from builder.model.recipe import InitName, NetworkClient, Recipe, Resolver
from builder.reading import load_recipe
from tests.images import write_recipe

every_init = pytest.mark.parametrize("init", INITS.values(), ids=[name.value for name in INITS])


NETWORK = {"client": "dhcpcd", "inform": True, "interface": "eth0"}


def recipe_of(init: Init, directory: Path) -> Recipe:
    recipe = load_recipe(
        write_recipe(directory, distribution={"name": "debian", "suite": "bookworm"}, network=NETWORK)
    ).recipe
    return dataclasses.replace(recipe, system=dataclasses.replace(recipe.system, init=init.name))


def test_every_name_of_a_recipe_has_an_init() -> None:
    assert {name: init.name for name, init in INITS.items()} == {name: name for name in InitName}


@every_init
def test_its_files_are_text_at_absolute_paths(init: Init, tmp_path: Path) -> None:
    entries = init.entries(recipe_of(init, tmp_path))
    assert entries
    assert all(
        posixpath.isabs(entry.path) for entry in (*entries, *init.early_entries(RESOLVER), *init.renewer_entries())
    )


@every_init
@pytest.mark.parametrize("service", [RESOLVER, LEASE], ids=lambda service: service.name)
def test_it_runs_a_script_early(service: EarlyService, init: Init) -> None:
    entries = init.early_entries(service)
    assert (init.resolver_file in [entry.path for entry in entries]) is (service is RESOLVER)
    assert any(service.script in entry.content.decode() for entry in entries if isinstance(entry, TreeFile))


@every_init
def test_it_keeps_the_renewer_running(init: Init) -> None:
    entries = init.renewer_entries()
    assert any(RENEWER_SCRIPT in entry.content.decode() for entry in entries if isinstance(entry, TreeFile))


@every_init
def test_services_are_named_by_the_recipe(init: Init, tmp_path: Path) -> None:
    recipe = recipe_of(init, tmp_path)
    name = init.full_name("ssh")
    assert name == init.full_name(name) and name in init.file_names(name)
    assert init.directories
    if init.enable:
        assert set(recipe.system.services) <= set(init.enabled(recipe))
    else:
        assert init.enabled(recipe) == []


@every_init
def test_what_it_runs_of_the_network(init: Init, tmp_path: Path) -> None:
    assert {NetworkClient.NONE, NetworkClient.DHCPCD} <= init.clients
    assert {Resolver.FIXED, Resolver.KERNEL} <= init.resolvers
    assert list(init.contradictions(recipe_of(init, tmp_path))) == []


@every_init
def test_the_lab_knows_it(init: Init) -> None:
    assert set(init.lab_arguments) <= set(KERNEL_ARGUMENTS)
    assert init.power_off and "\n" not in init.power_off


@pytest.mark.parametrize(
    ("console", "init"),
    [
        ("[    5.0] systemd[1]: systemd 252 running in system mode\n", Systemd),
        ("INIT: version 2.88 booting\n", Initscripts),
        ("", Systemd),
    ],
)
def test_a_console_says_which_init_runs(console: str, init: type[Init]) -> None:
    assert type(running_init(console)) is init
    assert (Milestone.INIT in find_milestones(Logs(console=console))) is bool(console)


def test_a_unit_of_a_template_is_the_templates() -> None:
    systemd = Systemd()
    assert systemd.file_names("getty@tty1.service") == {"getty@tty1.service", "getty@.service"}
    assert systemd.full_name("getty@tty1") == "getty@tty1.service"
    assert systemd.full_name("ssh.socket") == "ssh.socket"


def test_initscripts_have_no_units() -> None:
    assert Initscripts().full_name("sshd") == "sshd"
    assert NetworkClient.NETWORKD not in Initscripts().clients
