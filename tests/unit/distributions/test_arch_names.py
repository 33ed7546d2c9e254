"""Every package that we name for Arch Linux is in its repositories, by a stored list of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[3]
STORED = {line for line in (ROOT / "tests/arch_packages.txt").read_text("ascii").splitlines() if line[0] != "#"}
# it is for derivatives with another init, as its comments say
DERIVATIVES = {"arch-initscripts.yml": {"sysvinit", "initscripts"}}
# `pacman -S NAME...` in a hint or a document, up to what cannot be a name
_ADVICE = re.compile(r"pacman -S(?: --needed)?((?: [a-z0-9][a-z0-9@._+-]*)+)")


def tools_of(text: str) -> Iterator[str]:
    """The last argument of every `Tool(name, debian, arch)` in a module."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Tool":
            package = node.args[2]
            assert isinstance(package, ast.Constant), ast.unparse(node)
            yield from str(package.value or "").split()


def advised(text: str) -> Iterator[str]:
    for names in _ADVICE.findall(text):
        yield from (name.rstrip(".") for name in names.split())


def unknown(names: Iterator[str]) -> set[str]:
    found = set(names)
    assert found
    return found - STORED


def test_the_tools_of_every_module() -> None:
    modules = [path.read_text("utf-8") for path in (ROOT / "builder").rglob("*.py")]
    assert unknown(name for text in modules for name in tools_of(text)) == set()


def test_every_advice() -> None:
    places = [*(ROOT / "builder").rglob("*.py"), *ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    assert unknown(name for path in places for name in advised(path.read_text("utf-8"))) == set()


def test_what_is_installed_on_the_host() -> None:
    script = (ROOT / ".ci/host-packages").read_text("utf-8")
    lists = re.findall(r'^arch_\w+="([^"]*)"', script, re.MULTILINE)
    assert len(lists) == 5
    assert unknown(name for words in lists for name in words.split() if name[0] != "$") == set()


def test_the_recipes() -> None:
    for path in (ROOT / "recipes").glob("arch-*.yml"):
        packages = yaml.safe_load(path.read_text("utf-8"))["packages"]
        assert unknown(iter(packages)) == DERIVATIVES.get(path.name, set()), path.name


def test_a_wrong_name_is_seen() -> None:
    assert unknown(tools_of('Tool("mmdebstrap", "mmdebstrap", "mmdebstrap")')) == {"mmdebstrap"}
    assert unknown(advised("Arch Linux: pacman -S nfs-ganesha rpcbind; or not")) == {"nfs-ganesha"}
    assert not STORED & {"mmdebstrap", "nfs-ganesha", "docker-registry", "xinetd"}
