"""A client's firmware and loader find their files with every text for DHCP, TFTP and HTTP that a server can have."""

from __future__ import annotations

import dataclasses
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.archive.members import read_members
from builder.bootlab.machine.accelerator import accelerator_arguments
from builder.bootlab.machine.firmware import Firmware
from builder.bootlab.machine.guest import Machine, qemu_command
from builder.bootlab.machine.serial import SerialPorts
from builder.loaders.table import LOADERS
from builder.model.artifacts.manifest import BUNDLE
from builder.model.menu import KERNEL, Menu, MenuEntry
from builder.model.recipe import LoaderName
from builder.model.site import Site
from builder.render.server.files import Format
from tests.images import debian_image
from tests.integration.servers.server_network import KNOWN, ServerNetwork, open_network
from tests.integration.servers.test_server_programs import start_dhcp, start_in_tftpd, start_nginx, start_router
from tests.require import needs_boot, needs_ovmf, needs_tool
from tests.scratch import scratch
from tests.unit.render.test_server_config import FULL, SMALLEST

pytestmark = [
    *needs_boot,
    needs_ovmf,
    needs_tool("dhcpd", "kea-dhcp4", "in.tftpd", "xinetd", "nginx", "ss", "nsenter"),
    pytest.mark.full,
]
PATIENCE = 120
UNKNOWN = "52:54:00:00:00:99"
ALL, ONE = "greeting-for-all", "greeting-for-one"
EMPTY = Menu((MenuEntry("none", "none", "none", "none", "none", bootif=True),), "none")
CARD = KNOWN.replace(":", "-")  # as BOOTIF= has it
# what each loader says on a console when it read its menu; QEMU's cards have iPXE in their ROM, so a site chooses
FIRMWARE = {LoaderName.PXELINUX: Firmware.BIOS, LoaderName.GRUB: Firmware.UEFI_SECURE, LoaderName.IPXE: Firmware.UEFI}


def greeting_menus(loader: LoaderName) -> dict[str, str]:
    """Menus that only greet: for all, and for the known client by its network card; by path below the TFTP root."""
    kind = LOADERS[loader]
    general, own = (f"{kind.directory}/{kind.menu_file(mac)}" for mac in (None, KNOWN))
    first = kind.render(EMPTY, [KNOWN]).splitlines()
    if loader is LoaderName.PXELINUX:
        texts = [f"SERIAL 0 115200\nSAY {said}\nDEFAULT none\n" for said in (ALL, ONE)]
    elif loader is LoaderName.GRUB:
        sends = [line for line in first if "configfile" in line]
        names = [line for line in first if line.startswith(("regexp", "set bootif"))]
        assert len(names) == 2
        own_lines = [*names, f'echo "{ONE} $bootif"', "sleep 60", ""]
        texts = ["\n".join([*sends, f"echo {ALL}", "sleep 60", ""]), "\n".join(own_lines)]
    else:
        sends = [line for line in first if line.startswith(("#!", "iseq"))]
        texts = [
            "\n".join([*sends, f"echo {ALL}", "sleep 60", ""]),
            f"#!ipxe\necho {ONE} ${{netX/mac:hexhyp}}\nsleep 60\n",
        ]
    return {general: texts[0], own: texts[1]}


@pytest.fixture(params=["over-tftp", "over-http"])
def site(request: pytest.FixtureRequest) -> Site:
    return {"over-tftp": SMALLEST, "over-http": FULL}[request.param]


@pytest.fixture(params=FIRMWARE)
def loader(request: pytest.FixtureRequest) -> LoaderName:
    name: LoaderName = request.param
    return name


@pytest.fixture
def network(site: Site, loader: LoaderName) -> Iterator[ServerNetwork]:
    """A network whose store has real loaders, and menus that only greet."""
    with (
        tempfile.TemporaryDirectory(dir=scratch()) as directory,
        open_network(Path(directory), site) as opened,
    ):
        boot = opened.store / "boot"
        texts = {name: text.encode() for name, text in greeting_menus(loader).items()}
        for name, content in {**read_members(debian_image() / BUNDLE), **texts}.items():
            (boot / name).parent.mkdir(exist_ok=True)
            (boot / name).write_bytes(content)
        yield opened


def greeting(network: ServerNetwork, loader: LoaderName, mac: str) -> str:
    """What a machine that boots from the network is greeted with; the end of its console where that never comes."""
    console = network.directory / "console"
    network.namespace.check(["ip", "tuntap", "add", "dev", "tap0", "mode", "tap"])
    network.namespace.check(["ip", "link", "set", "tap0", "master", "eth1", "up"])
    machine = Machine(memory=512, processors=1, mac=mac, firmware=FIRMWARE[loader])
    accelerator = accelerator_arguments(network.store / "boot" / KERNEL)
    command = qemu_command(machine, accelerator, "tap0")
    SerialPorts(console).connect(lambda files: network.namespace.start("qemu", command, files=files))
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        card = "" if loader is LoaderName.PXELINUX else f" {CARD}"
        found = re.search(f"({ALL})|({ONE}){card}", console.read_text("utf-8", "replace"))
        if found:
            return found[1] or found[2]
        time.sleep(0.2)
    return console.read_text("utf-8", "replace")[-2000:]


def with_loader(site: Site, loader: LoaderName) -> Site:
    return dataclasses.replace(site, loaders=(loader,))


@pytest.mark.parametrize("mac", [KNOWN, UNKNOWN], ids=["known", "unknown"])
@pytest.mark.parametrize("site", ["over-http"], indirect=True)
def test_with_dhcpd_and_in_tftpd_under_xinetd_and_nginx(
    network: ServerNetwork, site: Site, loader: LoaderName, mac: str
) -> None:
    start_dhcp(network, Format.DHCPD, with_loader(site, loader))
    start_in_tftpd("xinetd", network, site)
    start_nginx(network, site)
    assert greeting(network, loader, mac) == (ONE if mac == KNOWN else ALL)
    requests = (network.directory / "requests").read_text("utf-8")
    # GRUB's menu comes from where GRUB came from
    assert (f"GET /{LOADERS[loader].directory}/" in requests) is (loader is not LoaderName.GRUB)


@pytest.mark.parametrize("site", ["over-tftp"], indirect=True)
def test_with_a_proxy_beside_a_router_that_knows_nothing_of_it(
    network: ServerNetwork, site: Site, loader: LoaderName
) -> None:
    if not LOADERS[loader].beside_proxy:
        assert LOADERS[loader].files[0] not in network.render(Format.DNSMASQ_PROXY, site).read_text("utf-8")
        return
    start_dhcp(network, Format.DNSMASQ_PROXY, with_loader(site, loader))
    start_router(network, f"dhcp-range={site.network[100]},{site.network[199]},255.255.255.0,1h\n")
    assert greeting(network, loader, KNOWN) == ONE


@pytest.mark.parametrize("site", ["over-tftp"], indirect=True)
def test_with_our_lines_in_a_router_and_in_tftpd(network: ServerNetwork, site: Site, loader: LoaderName) -> None:
    own = network.render(Format.ROUTER, with_loader(site, loader)).read_text("utf-8")
    start_router(network, f"dhcp-range={site.network[100]},{site.network[199]},255.255.255.0,1h\n{own}")
    start_in_tftpd("unit", network, site)
    assert greeting(network, loader, UNKNOWN) == ALL


@pytest.mark.parametrize("site", ["over-http"], indirect=True)
def test_with_kea_and_in_tftpd_and_nginx(network: ServerNetwork, site: Site, loader: LoaderName) -> None:
    start_dhcp(network, Format.KEA, with_loader(site, loader))
    start_in_tftpd("defaults", network, site)
    start_nginx(network, site)
    assert greeting(network, loader, KNOWN) == ONE
