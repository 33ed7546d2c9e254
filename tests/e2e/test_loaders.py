"""A client's firmware and PXELINUX find their files with every text for DHCP, TFTP and HTTP that a server can have."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.archive.members import read_members
from builder.bootlab.accelerator import accelerator_arguments
from builder.bootlab.guest import Machine, qemu_command
from builder.bootlab.serial import SerialPorts
from builder.model.artifacts.manifest import BUNDLE
from builder.model.menu import KERNEL
from builder.model.site import Site
from builder.render.server.files import Format
from tests.images import debian_image
from tests.integration.servers.server_network import KNOWN, ServerNetwork, open_network
from tests.integration.servers.test_server_programs import start_dhcp, start_in_tftpd, start_nginx, start_router
from tests.require import needs_boot, needs_tool
from tests.unit.render.test_server_config import FULL, SMALLEST

pytestmark = [*needs_boot, needs_tool("dhcpd", "in.tftpd", "xinetd", "nginx", "ss", "nsenter"), pytest.mark.full]
PATIENCE = 120
# PXELINUX asks for a client's own file first; with option 209 it never would
GREETINGS = {"default": "greeting-for-all", f"01-{KNOWN.replace(':', '-')}": "greeting-for-one"}


@pytest.fixture(params=["over-tftp", "over-http"])
def site(request: pytest.FixtureRequest) -> Site:
    return {"over-tftp": SMALLEST, "over-http": FULL}[request.param]


@pytest.fixture
def network(site: Site) -> Iterator[ServerNetwork]:
    """A network whose store has real loaders, and menus that only greet."""
    with (
        tempfile.TemporaryDirectory(prefix="diskless-tests-", dir="/var/tmp") as directory,
        open_network(Path(directory), site) as opened,
    ):
        boot = opened.store / "boot"
        for name, content in read_members(debian_image() / BUNDLE).items():
            if "/" not in name:
                (boot / name).write_bytes(content)
        for name, greeting in GREETINGS.items():
            (boot / "pxelinux.cfg" / name).write_text(f"SERIAL 0 115200\nSAY {greeting}\nDEFAULT none\n", "utf-8")
        yield opened


def greeting(network: ServerNetwork, mac: str) -> str:
    """What a machine that boots from the network is greeted with; the end of its console where that never comes."""
    console = network.directory / "console"
    network.namespace.check(["ip", "tuntap", "add", "dev", "tap0", "mode", "tap"])
    network.namespace.check(["ip", "link", "set", "tap0", "master", "eth1", "up"])
    machine = Machine(memory=256, processors=1, mac=mac)
    accelerator = accelerator_arguments(network.store / "boot" / KERNEL)
    command = qemu_command(machine, accelerator, "tap0")
    SerialPorts(console).connect(lambda files: network.namespace.start("qemu", command, files=files))
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = re.search("|".join(GREETINGS.values()), console.read_text("utf-8", "replace"))
        if found:
            return found[0]
        time.sleep(0.2)
    return console.read_text("utf-8", "replace")[-2000:]


@pytest.mark.parametrize("mac", [KNOWN, "52:54:00:00:00:99"], ids=["known", "unknown"])
@pytest.mark.parametrize("site", ["over-http"], indirect=True)
def test_with_dhcpd_and_in_tftpd_under_xinetd_and_nginx(network: ServerNetwork, site: Site, mac: str) -> None:
    start_dhcp(network, Format.DHCPD, site)
    start_in_tftpd("xinetd", network, site)
    start_nginx(network, site)
    assert greeting(network, mac) == GREETINGS["default" if mac != KNOWN else f"01-{KNOWN.replace(':', '-')}"]
    requests = (network.directory / "requests").read_text("utf-8")
    assert "GET /pxelinux.cfg/" in requests


@pytest.mark.parametrize("site", ["over-tftp"], indirect=True)
def test_with_a_proxy_beside_a_router_that_knows_nothing_of_it(network: ServerNetwork, site: Site) -> None:
    start_dhcp(network, Format.DNSMASQ_PROXY, site)
    start_router(network, f"dhcp-range={site.network[100]},{site.network[199]},255.255.255.0,1h\n")
    assert greeting(network, KNOWN) == GREETINGS[f"01-{KNOWN.replace(':', '-')}"]


@pytest.mark.parametrize("site", ["over-tftp"], indirect=True)
def test_with_our_lines_in_a_router_and_in_tftpd(network: ServerNetwork, site: Site) -> None:
    own = network.render(Format.ROUTER, site).read_text("utf-8")
    start_router(network, f"dhcp-range={site.network[100]},{site.network[199]},255.255.255.0,1h\n{own}")
    start_in_tftpd("unit", network, site)
    assert greeting(network, "52:54:00:00:00:99") == GREETINGS["default"]
