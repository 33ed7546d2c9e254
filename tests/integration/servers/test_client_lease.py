"""The lease of a client, renewed by the real dhcpcd with the image's own configuration from the server's dnsmasq."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from builder.bootlab.namespace import Service
from builder.model.entry import TreeFile
from builder.model.site import Site, SiteDhcp
from builder.reading import load_recipe
from builder.render.image.entries import image_entries
from builder.render.server.files import Format
from tests.images import write_recipe
from tests.integration.servers.server_network import CLIENT, UNKNOWN, ServerNetwork, open_site
from tests.require import needs_root, needs_tool

pytestmark = [needs_root, needs_tool("dnsmasq", "dhcpcd", "ip", "nsenter"), pytest.mark.root]

SITE = Site(
    server="192.168.1.1",
    interface="eth1",
    nameservers=("192.168.1.1",),
    dhcp=SiteDhcp(first="192.168.1.100", last="192.168.1.199", lease="2m"),
)
# dhcpcd renews at T1: ten seconds are the client's, not the server's half of the lease
HASTE = "dhcp-option-force=option:T1,10\ndhcp-option-force=option:T2,60\n"
HOOK = """\
#!/bin/sh
. {enter}
echo "$reason $new_ip_address $if_configured $new_domain_name_servers" >> {log}
"""
# the recipe's network, the file that dhcpcd reads, what hooks are told: whether the card is configured, name servers
CASES: dict[str, tuple[dict[str, object], str, list[str]]] = {
    "inform": ({"client": "dhcpcd", "inform": True}, "/etc/dhcpcd.conf", ["true", "192.168.1.1"]),
    "plain": ({"client": "dhcpcd"}, "/etc/dhcpcd.conf", ["true", "192.168.1.1"]),
    "renewer": ({"client": "none", "nameservers": ["192.0.2.1"]}, "/usr/local/lib/diskless/dhcpcd.conf", ["false"]),
}


@pytest.fixture
def network() -> Iterator[ServerNetwork]:
    with open_site(SITE) as opened:
        for place in ("/var/lib/dhcpcd", "/var/lib/dhcpcd5"):
            if Path(place).is_dir():
                opened.namespace.check(["mount", "-t", "tmpfs", "tmpfs", place])
        yield opened


def image_file(path: str, directory: Path, network: dict[str, object]) -> str | None:
    """A file that a build writes into an image."""
    usual = load_recipe(write_recipe(directory, distribution={"name": "debian", "suite": "bookworm"})).recipe
    packages = [*usual.packages, "dhcpcd-base"]
    changed = write_recipe(
        directory, distribution={"name": "debian", "suite": "bookworm"}, packages=packages, network=network
    )
    entries = image_entries(load_recipe(changed).recipe, {})
    return next((one.content.decode() for one in entries if isinstance(one, TreeFile) and one.path == path), None)


def wait_for(condition: Callable[[], bool], network: ServerNetwork, seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not condition():
        network.namespace.poll(0.2)
    return condition()


@pytest.mark.parametrize(
    "case", ["inform", *(pytest.param(one, marks=pytest.mark.full) for one in ("plain", "renewer"))]
)
def test_a_lease_is_renewed_and_the_card_is_left_alone(case: str, network: ServerNetwork, tmp_path: Path) -> None:
    settings, path, told = CASES[case]
    text = network.render(Format.DNSMASQ, SITE).read_text("utf-8")
    config = network.write("dnsmasq.conf", text + HASTE)
    leases = network.directory / "leases"
    # a ping before each offer is longer than our client waits
    foreground = ("--keep-in-foreground", "--user=root", "--log-facility=-", "--pid-file", "--no-ping", "--port=0")
    files = (f"--conf-file={config}", f"--dhcp-leasefile={leases}")
    network.start("dnsmasq", "started, ", "dnsmasq", *foreground, *files)
    taken = network.lease(UNKNOWN, vendor="udhcp")  # as an initramfs does, whose ipconfig goes away
    assert taken is not None
    address = taken["address"]
    network.run("ip", "link", "set", "eth0", "address", UNKNOWN, on=CLIENT)
    network.address_client(f"{address}/24")

    log = network.directory / "hooks"
    log.touch()
    enter = network.write("enter-hook", image_file("/etc/dhcpcd.enter-hook", tmp_path, settings) or "")
    hook = network.write("hook", HOOK.format(enter=enter, log=log))
    hook.chmod(0o755)
    own = network.write("dhcpcd.conf", image_file(path, tmp_path, settings) or "")
    client = ["dhcpcd", "--nobackground", "--ipv4only", "--config", own, "--script", hook, "eth0"]
    service = network.namespace.start("dhcpcd", ["nsenter", f"--net=/run/netns/{CLIENT}", *map(str, client)])

    def happened(word: str) -> list[str]:
        return [line for line in log.read_text("utf-8").splitlines() if line.startswith(word)]

    assert wait_for(lambda: bool(happened("RENEW")), network), said(service)
    (first,) = [line for word in ("BOUND", "REBOOT") for line in happened(word)]
    assert first.split()[1:] == [address, *told], "another address, or no name server"
    assert happened("RENEW")[0].split()[1:] == [address, *told]
    assert f" {address} " in leases.read_text("utf-8")

    network.run("ip", "link", "set", CLIENT, "down")
    network.namespace.poll(3)
    assert addresses(network) == [f"{address}/24"], "a pulled cable took the address away"
    network.run("ip", "link", "set", CLIENT, "up")
    renewed = len(happened("RENEW"))
    assert wait_for(lambda: len(happened("RENEW")) > renewed, network), said(service)
    network.namespace.end(service)
    assert addresses(network) == [f"{address}/24"]


def addresses(network: ServerNetwork) -> list[str]:
    words = network.run("ip", "-4", "-o", "address", "show", "dev", "eth0", on=CLIENT)[1].split()
    return [word for before, word in itertools.pairwise(words) if before == "inet"]


def said(service: Service) -> str:
    return service.log.read_text("utf-8", "replace")[-3000:]
