"""Groups of clients that are told by how their MAC addresses begin; by real programs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.checks.site import site_contradictions
from builder.model.site import Site
from builder.render.server.files import Format
from tests.integration.servers.server_network import KNOWN, ServerNetwork, open_network
from tests.integration.servers.test_server_programs import file_of, options, start_dhcp
from tests.require import needs_root, needs_tool
from tests.scratch import scratch
from tests.unit.render.test_server_config import GROUPS

pytestmark = [
    needs_root,
    needs_tool("unshare", "setpriv", "ip", "nsenter", "dnsmasq", "dhcpd", "kea-dhcp4"),
    pytest.mark.root,
]


@pytest.fixture
def site() -> Site:
    return GROUPS


@pytest.fixture
def network(site: Site) -> Iterator[ServerNetwork]:
    with (
        tempfile.TemporaryDirectory(dir=scratch()) as directory,
        open_network(Path(directory), site) as opened,
    ):
        yield opened


@pytest.mark.parametrize("form", [Format.DNSMASQ, Format.DHCPD, Format.KEA])
def test_a_group_is_told_by_its_cards(form: Format, network: ServerNetwork, site: Site) -> None:
    assert site_contradictions(site) == []
    start_dhcp(network, form, site)
    everybodys, own = "http://192.168.1.6/ipxe/boot.ipxe", "http://192.168.1.6/ipxe/group-lab.ipxe"
    config = b"pxelinux.cfg/group-lab".hex()
    for mac, script, file in (
        ("52:54:00:00:00:99", own, config),
        ("08:00:27:0a:00:01", own, config),
        ("08:00:27:0b:00:01", everybodys, None),
        (KNOWN, everybodys, None),  # has a menu of its own, which comes first
    ):
        (firmware,) = network.discover(mac)
        assert (file_of(firmware), firmware["next_server"]) == ("lpxelinux.0", site.server), mac
        assert options(firmware, 208, 209, 210) == ["f100747e", file, b"http://192.168.1.6/".hex()], mac
        (ipxe,) = network.discover(mac, user_class="iPXE")
        assert file_of(ipxe) == script, mac
        (uefi,) = network.discover(mac, architecture=7)
        assert file_of(uefi) == "shimx64.efi", mac
