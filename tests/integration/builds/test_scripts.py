"""The recipe's scripts: in order, inside the tree, without network, and nothing of them stays."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator

import pytest
import yaml

from builder.errors import CommandError
from builder.reading import load_recipe
from builder.stages import scripts
from builder.stages.context import Context
from builder.system.sandbox.network import NAME_SERVER
from tests.integration.builds.test_sandbox import small_tree
from tests.require import needs_root, needs_tool
from tests.scratch import scratch
from tests.stages import log, staged

pytestmark = [needs_root, needs_tool("unshare", "setpriv"), pytest.mark.root, pytest.mark.inside]
EPOCH = 1700000000
Make = Callable[..., Context]


@pytest.fixture
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """A build that has come as far as its scripts, which are given by name and text."""
    place = scratch() / "scripts" / str(request.node.name)
    (place / "recipe").mkdir(parents=True)
    with contextlib.ExitStack() as stack:

        def make_context(*given: object, **texts: str) -> Context:
            for name, text in texts.items():
                (place / "recipe" / f"{name}.sh").write_text(f"#!/bin/sh\nset -e\n{text}\n", encoding="utf-8")
            return stack.enter_context(staged(place, scripts=list(given)))

        yield make_context


def test_they_run_in_order_with_a_known_environment(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "of the host")
    context = make("two.sh", "one.sh", one="cat /etc/order; echo one >> /etc/order", two="env; echo two > /etc/order")
    scripts.run(context, EPOCH)
    assert (context.workspace.tree / "etc/order").read_text("ascii") == "two\none\n"
    lines = log(context)
    said = {line for line in lines if "=" in line and not line.startswith(("$", "#"))}
    assert {word for word in said if not word.startswith(("PWD=", "OLDPWD=", "SHLVL=", "_="))} == {
        f"SOURCE_DATE_EPOCH={EPOCH}",
        f"DISKLESS_IMAGE={context.recipe.image}",
        "DEBIAN_FRONTEND=noninteractive",
        "HOME=/root",
        "LC_ALL=C.UTF-8",
        "TERM=dumb",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }
    assert lines.index("$ /run/diskless/scripts/1-two.sh") < lines.index("$ /run/diskless/scripts/2-one.sh")


def test_nothing_of_a_script_stays_but_what_it_did(make: Make) -> None:
    before = {path.name for path in small_tree().iterdir()}
    context = make("one.sh", one="ls /run/diskless/scripts > /etc/seen; touch /run/x /tmp/x")
    scripts.run(context, EPOCH)
    tree = context.workspace.tree
    assert (tree / "etc/seen").read_text("ascii") == "1-one.sh\n"
    assert {path.name for path in tree.iterdir()} - before <= {"proc", "sys", "dev", "run", "tmp"}
    assert not list((tree / "run").iterdir()) and not list((tree / "tmp").iterdir())


@pytest.mark.usefixtures("tun")
def test_network_and_the_hosts_name_servers_are_there_only_when_asked_for(make: Make) -> None:
    look = "cat /proc/net/dev > /etc/{0}.net; cat /etc/resolv.conf > /etc/{0}.dns"
    context = make("off.sh", {"source": "on.sh", "network": "true"}, off=look.format("off"), on=look.format("on"))
    etc = context.workspace.tree / "etc"
    (etc / "resolv.conf").write_text("nameserver 192.0.2.1\n", "ascii")
    scripts.run(context, EPOCH)
    assert (etc / "off.dns").read_text("ascii") == (etc / "resolv.conf").read_text("ascii") == "nameserver 192.0.2.1\n"
    assert (etc / "on.dns").read_text("ascii") == f"nameserver {NAME_SERVER}\n"
    assert len((etc / "off.net").read_text("ascii").splitlines()) == 2 + 1
    assert len((etc / "on.net").read_text("ascii").splitlines()) == 2 + 2


@pytest.mark.usefixtures("tun")
def test_a_link_into_run_leads_to_the_hosts_name_servers_too(make: Make) -> None:
    context = make({"source": "on.sh", "network": "true"}, on="cat /etc/resolv.conf > /etc/seen")
    etc = context.workspace.tree / "etc"
    (etc / "resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    scripts.run(context, EPOCH)
    assert (etc / "seen").read_text("ascii") == f"nameserver {NAME_SERVER}\n"
    assert (etc / "resolv.conf").is_symlink()


def test_the_first_that_fails_ends_the_build_with_its_last_lines(make: Make) -> None:
    context = make("one.sh", "two.sh", one="echo working on it\necho cannot >&2\nexit 7", two="touch /etc/never")
    with pytest.raises(CommandError) as caught:
        scripts.run(context, EPOCH)
    assert caught.value.message == "the script one.sh failed: exit status 7"
    assert caught.value.details[-2:] == ("working on it", "cannot")
    assert caught.value.phase == "one.sh"
    assert "--keep-failed" in (caught.value.hint or "")
    assert not (context.workspace.tree / "etc/never").exists()


def test_the_manifest_names_each_with_its_digest(make: Make) -> None:
    context = make("one.sh", {"source": "two.sh", "network": "true"}, one="true", two="false")
    one, two = scripts.ran_scripts(context)
    content = (context.recipe_file.path.parent / "one.sh").read_bytes()
    assert (one.source, one.sha256, one.network) == ("one.sh", hashlib.sha256(content).hexdigest(), False)
    assert (two.source, two.network) == ("two.sh", True)


def test_a_changed_script_changes_the_recipes_digest(make: Make) -> None:
    context = make("one.sh", one="true")
    path = context.recipe_file.path
    assert yaml.safe_load(path.read_text("utf-8"))["scripts"] == ["one.sh"]
    (path.parent / "one.sh").write_text("#!/bin/sh\nfalse\n", "utf-8")
    assert load_recipe(path).sha256 != context.recipe_file.sha256
