"""Several networks of clients: on cards of their own, on one card, behind a relay; by real programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from builder.checks.site import site_contradictions
from builder.model.site import Site, SiteClient
from builder.render.server.files import Format
from tests.integration.servers.server_network import CLIENT, KNOWN, ROUTER, UNKNOWN, ServerNetwork, open_site
from tests.integration.servers.test_server_programs import file_of, options, start_dhcp
from tests.require import needs_root, needs_tool
from tests.unit.render.test_server_config import NETWORKS

pytestmark = [
    needs_root,
    needs_tool("unshare", "setpriv", "ip", "nsenter", "dnsmasq", "dhcpd", "kea-dhcp4", "exportfs"),
    pytest.mark.root,
]
RELAYS_ONLY = dataclasses.replace(
    NETWORKS,
    networks=(dataclasses.replace(NETWORKS.networks[1], options=()),),
    clients=(SiteClient(mac="52:54:00:00:00:02", name="hall1", address="10.20.0.10"),),
)


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Site:
    chosen: Site = getattr(request, "param", NETWORKS)
    return chosen


@pytest.fixture
def network(site: Site) -> Iterator[ServerNetwork]:
    with open_site(site) as opened:
        yield opened


def test_exportfs_exports_to_every_network(network: ServerNetwork, site: Site) -> None:
    network.make_etc_private()
    network.namespace.check(["cp", "/dev/null", "/etc/exports"])
    network.namespace.check(["touch", "/var/lib/nfs/etab", "/var/lib/nfs/rmtab"])
    text = network.render(Format.EXPORTS, site).read_text("utf-8").replace(",mountpoint", "")
    network.namespace.check(["mkdir", "-p", "/etc/exports.d"])
    network.namespace.check(["cp", str(network.write("exports", text)), "/etc/exports.d/diskless.exports"])
    assert network.run("exportfs", "-ra") == (0, "")
    listed = network.run("exportfs", "-v")[1].split()
    for one in site.client_networks:
        assert len([word for word in listed if word.startswith(f"{one.network}(")]) == 2


def relay(network: ServerNetwork, there: str, subnet: str) -> str:
    """Lets the router, on the server's network, pass DHCP on; the machine behind it, where the router is `there`."""
    router = network.run("ip", "-4", "-o", "address", "show", "dev", "eth0", on=ROUTER)[1].split()[3].partition("/")[0]
    for command in (
        "ip netns add hall",
        f"ip -n {ROUTER} link add inside type veth peer name eth0 netns hall",
        f"ip -n {ROUTER} address add {there} dev inside",
        f"ip -n {ROUTER} link set inside up",
        "ip -n hall link set eth0 up",
        f"ip route add {subnet} via {router}",
    ):
        network.namespace.check(command.split())
    foreground = ("--port=0", "--keep-in-foreground", "--user=root", "--log-facility=-", "--pid-file")
    relayed = f"--dhcp-relay={there.partition('/')[0]},192.168.1.1"
    network.start("relay", "DHCP relay from", "dnsmasq", *foreground, relayed, "--conf-file=/dev/null", on=ROUTER)
    return "hall"


@pytest.mark.parametrize("form", [Format.DNSMASQ, Format.DHCPD, Format.KEA])
def test_each_network_is_told_its_own(form: Format, network: ServerNetwork, site: Site) -> None:
    hall = relay(network, "10.20.0.1/16", "10.20.0.0/16")
    start_dhcp(network, form, site)
    (here,) = network.discover(UNKNOWN)
    assert here["address"].startswith("192.168.1.1")
    assert options(here, 3, 6, 26, 42) == [None, "c0a80101", None, None]
    (known,) = network.discover(KNOWN)
    assert (known["address"], options(known, 12)) == ("192.168.1.10", [b"lab1".hex()])
    (there,) = network.discover(UNKNOWN, on="on-eth2")
    assert there["address"].startswith("10.30.0.1")
    assert options(there, 1, 3, 6) == ["ffffff00", "0a1e0001", None]
    (other,) = network.discover("52:54:00:00:00:04", on="on-eth2")
    (far,) = network.discover(UNKNOWN, on=hall)
    assert far["address"].startswith("10.20.")
    assert options(far, 1, 3, 6, 51) == ["ffff0000", "0a140001", "0a1400020a140003", f"{3600:08x}"]
    assert options(far, 15) == [b"cafe.example.org".hex()]
    (mine,) = network.discover("52:54:00:00:00:02", on=hall)
    assert (mine["address"], options(mine, 12)) == ("10.20.0.10", [b"hall1".hex()])
    (third,) = network.discover("52:54:00:00:00:03", on=hall)
    assert options(third, 12) == [b"lab3".hex()]
    for answer in (here, known, there, other, far, mine, third):
        assert file_of(answer) == "lpxelinux.0"
        assert options(answer, 208, 210) == ["f100747e", b"http://192.168.1.1:8080/".hex()]
    leased = network.lease(UNKNOWN, on=hall)
    assert leased is not None
    assert options(leased, 2, 26, 42) == ["00000e10", "0578", "0a1400040a140005"]
    assert options(leased, 224, 225) == [b"10.20.0.6".hex(), b"7".hex()]
    if form is Format.DNSMASQ:
        for command in ("address add 10.30.0.77/24 dev eth0", "route add default via 10.30.0.1"):
            network.run("ip", *command.split(), on="on-eth2")
        assert network.fetch(site.server, "pxelinux.cfg/default", on="on-eth2") == {"content": "x" * 3000}


def test_a_proxy_serves_every_network(network: ServerNetwork, site: Site) -> None:
    hall = relay(network, "10.20.0.1/16", "10.20.0.0/16")
    start_dhcp(network, Format.DNSMASQ_PROXY, site)
    for machine in (CLIENT, "on-eth2", hall):
        (answer,) = network.discover(UNKNOWN, on=machine)
        assert (answer["address"], answer["next_server"], answer["file"]) == ("0.0.0.0", site.server, "pxelinux.0")


@pytest.mark.parametrize("site", [RELAYS_ONLY], indirect=True, ids=["relays-only"])
@pytest.mark.parametrize("form", [Format.DNSMASQ, Format.DHCPD, Format.KEA])
def test_a_server_on_no_network_of_its_clients(form: Format, network: ServerNetwork, site: Site) -> None:
    assert site_contradictions(site) == []
    network.namespace.check(["ip", "address", "flush", "dev", "eth1"])
    network.namespace.check(["ip", "address", "add", "192.168.1.1/24", "dev", "eth1"])
    network.run("ip", "address", "flush", "dev", "eth0", on=ROUTER)
    network.run("ip", "address", "add", "192.168.1.254/24", "dev", "eth0", on=ROUTER)
    hall = relay(network, "10.20.0.1/16", "10.20.0.0/16")
    start_dhcp(network, form, site)
    (far,) = network.discover(UNKNOWN, on=hall)
    (mine,) = network.discover("52:54:00:00:00:02", on=hall)
    assert far["address"].startswith("10.20.")
    assert (mine["address"], options(mine, 12)) == ("10.20.0.10", [b"hall1".hex()])
    assert (mine["next_server"], file_of(mine)) == (site.server, "lpxelinux.0")
    assert network.discover(UNKNOWN, answers=0) == []
