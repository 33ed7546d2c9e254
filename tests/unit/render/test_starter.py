"""diskless init: what it writes is good as it is."""

from __future__ import annotations

import ipaddress
import subprocess
from pathlib import Path

import pytest

from builder.cli.typed import as_typed
from builder.model.recipe import DistributionName, RootMode
from builder.reading import load_recipe
from builder.render.documents.starter import Answers, address_range, recipe_text
from builder.system import network
from tests.command import run_command
from tests.images import DISKLESS, run_diskless
from tests.require import needs_root, needs_tool
from tests.unit.render.test_schema import check_site

KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDah5vxWpLY64+CQh5jUQ5xnc5WSNklYenijjkkllyfT admin\'s "key" ü'
NETWORK = ("--server", "192.168.7.1", "--subnet", "192.168.7.0/24", "--interface", "eth1")


@pytest.mark.parametrize("distribution", list(DistributionName))
@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize("mode", list(RootMode))
def test_every_first_recipe_is_good(
    distribution: DistributionName, key: str | None, mode: RootMode, tmp_path: Path
) -> None:
    server = ipaddress.IPv4Interface("192.168.7.1/24")
    answers = Answers(distribution, "lab", mode, server, ssh_key=key)
    (tmp_path / "lab.yml").write_text(recipe_text(answers), encoding="utf-8")
    recipe = load_recipe(tmp_path / "lab.yml").recipe
    assert (recipe.distribution.name, recipe.root.mode) == (distribution, mode)
    assert [(user.name, user.ssh_keys) for user in recipe.system.users] == ([("root", (key,))] if key else [])


@pytest.mark.parametrize("distribution", [name.value for name in DistributionName])
@pytest.mark.parametrize("dhcp", ["--dhcp", "--no-dhcp"])
def test_init_asks_nothing_with_yes(distribution: str, dhcp: str, tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_text(f"{KEY}\n", encoding="utf-8")
    arguments = ("--yes", "--distribution", distribution, *NETWORK, dhcp, "--ssh-key", tmp_path / "key.pub")
    result = run_diskless("init", tmp_path / "new", *arguments)
    assert result.returncode == 0, result.stderr
    recipe, site = map(Path, result.stdout.splitlines())
    assert run_diskless("check", recipe).returncode == 0
    assert run_diskless("check", site).returncode == 0
    # the first line, which editors look for, names what is there
    assert recipe.read_text("utf-8").startswith("# yaml-language-server: $schema=recipe.schema.json\n")
    assert (recipe.parent / "recipe.schema.json").read_text("utf-8") == run_diskless("schema").stdout
    following = as_typed(f"diskless build {recipe}", DISKLESS)
    assert result.stderr == f"next: {following}\nbefore a deploy to DIR: cp {site} DIR/\n"
    values = check_site(site)
    assert (values["server"], values["subnet"], values["interface"]) == ("192.168.7.1", "192.168.7.0/24", "eth1")
    assert values.get("dhcp") == (
        {"first": "192.168.7.100", "last": "192.168.7.199", "lease": "12h"} if dhcp == "--dhcp" else None
    )


def test_the_dialogue_asks_again_for_a_wrong_answer(tmp_path: Path) -> None:
    answers = "arch\nBad Name\nkiosk\nboth\noverlay\neth9\n10.0.0.1\n10.0.0.0/16\ny\nnone\n"
    result = subprocess.run(
        [DISKLESS, "init", tmp_path], input=answers, capture_output=True, encoding="utf-8", check=False
    )
    assert result.returncode == 0, result.stderr
    assert "'Bad Name' is not an image name" in result.stderr
    assert result.stdout == f"{tmp_path}/kiosk.yml\n{tmp_path}/site.yml\n"
    assert check_site(tmp_path / "site.yml")["dhcp"] == {"first": "10.0.100.0", "last": "10.0.199.0", "lease": "12h"}
    assert "Nobody can log in yet" in result.stderr


def test_without_anybody_to_ask_it_says_so(tmp_path: Path) -> None:
    result = run_diskless("init", tmp_path)
    assert result.returncode == 2
    assert "error: there is nobody to ask" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "site.yml").write_text("mine", encoding="utf-8")
    status, _, errors = run_command(capsys, "init", "-y", *NETWORK, str(tmp_path))
    assert (status, f"there already: {tmp_path}/site.yml" in errors) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["site.yml"]
    assert run_command(capsys, "init", "-y", "--force", *NETWORK, str(tmp_path))[0] == 0
    assert "192.168.7.1" in (tmp_path / "site.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--server", "10.0.0.1", "--subnet", "192.168.0.0/24"), "10.0.0.1 is not in 192.168.0.0/24"),
        (("--server", "here"), "--server"),
        ((*NETWORK, "--image", "No Name"), "'No Name' is not an image name"),
        ((*NETWORK, "--ssh-key", "/etc/hostname"), "/etc/hostname is not a public ssh key"),
        (("--server", "10.0.0.1", "--subnet", "10.0.0.0/30", "--dhcp"), "no room"),
        ((*NETWORK, "--image", "site"), "an image's recipe cannot be site.yml"),
        ((*NETWORK, "--interface", "eth0\nserver: 10.0.0.9"), "is not a network interface"),
        ((*NETWORK, "--interface", "lo"), "no client is on lo"),
        (("--server", "10.0.0.0", "--subnet", "10.0.0.0/24"), "is the first or the last address"),
        (("--server", "127.0.0.1", "--subnet", "127.0.0.0/24"), "no client reaches 127.0.0.1"),
    ],
)
def test_a_wrong_option_is_named(
    arguments: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, errors = run_command(capsys, "init", "-y", *arguments, str(tmp_path))
    assert status == 2
    assert message in errors
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("server", "taken", "expected"),
    [
        ("192.168.1.1/24", (), ("192.168.1.100", "192.168.1.199")),
        ("192.168.1.190/24", ("192.168.1.120",), ("192.168.1.121", "192.168.1.189")),
        ("10.1.2.3/28", (), None),
        ("10.1.2.3/32", (), None),
    ],
)
def test_the_range_leaves_out_who_is_there(
    server: str, taken: tuple[str, ...], expected: tuple[str, str] | None
) -> None:
    assert address_range(ipaddress.IPv4Interface(server), taken) == expected


@needs_root
@needs_tool("unshare", "ip")
@pytest.mark.root
def test_the_network_is_read_from_the_kernel() -> None:
    look = "from builder.system.network import *; print(default_route(), *map(interface_address, ['eth7', 'no']))"
    setup = "ip link add eth7 type bridge; ip address add 10.9.8.7/20 dev eth7; ip link set eth7 up"
    script = f'{setup}; "$1" -c "$2"; ip route add default via 10.9.0.1; exec "$1" -c "$2"'
    python = str(Path(DISKLESS).with_name("python"))
    result = subprocess.run(
        ["unshare", "--net", "sh", "-ec", script, "sh", python, look],
        capture_output=True,
        encoding="ascii",
        check=False,
    )
    assert result.stdout.splitlines() == [
        "None 10.9.8.7/20 None",
        "Route(interface='eth7', gateway=IPv4Address('10.9.0.1')) 10.9.8.7/20 None",
    ], result.stderr


def test_name_servers_of_this_host_alone_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("# x\nnameserver 127.0.0.53\nnameserver 9.9.9.9\nnameserver fe80::1\n")
    assert network.nameservers(tmp_path / "resolv.conf") == ("9.9.9.9",)
    assert network.nameservers(tmp_path / "none") == ()


def test_no_more_name_servers_than_resolvers_read_and_each_once(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("".join(f"nameserver 10.0.0.{number}\n" for number in (1, 1, 2, 3, 4)), encoding="ascii")
    assert network.nameservers(path) == ("10.0.0.1", "10.0.0.2", "10.0.0.3")
