"""A dnsmasq that serves a network already goes on serving it: a PC of that network sees no difference."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.integration.servers.shared_dnsmasq import (
    BOOTED_CARD,
    CLIENT_CARD,
    PC,
    STOCK_DEFAULTS,
    Lan,
    SharedServer,
    open_shared_server,
)
from tests.require import needs_root, needs_tool

pytestmark = [needs_root, needs_tool("unshare", "setpriv", "ip", "ss", "nsenter", "dnsmasq"), pytest.mark.root]

SECOND = "server: 192.168.1.1\nsubnet: 192.168.1.0/24\ninterface: eth1\n"
SECOND_DHCP = SECOND + "dhcp: {first: 192.168.1.100, last: 192.168.1.199}\n"
SAME = "server: 10.98.0.1\nsubnet: 10.98.0.0/24\ninterface: lan0\n"
REPORTED = "interface=lan0\ndhcp-range=10.98.0.50,10.98.0.150,12h\n"
OPTIONS = (
    "domain=lan\ndhcp-option=option:router,10.98.0.254\ndhcp-option=option:dns-server,10.98.0.1\n"
    "dhcp-option=42,10.98.0.3\n"
)
OFFICE = "dhcp-range=set:office,10.98.0.50,10.98.0.150,255.255.255.0,12h\n"
# networks that dnsmasq serves, and a store on a card of its own beside them
LANS = {
    "names only": Lan("# as installed\n"),
    "as reported": Lan(REPORTED),
    "options for all": Lan(REPORTED + OPTIONS),
    "drop-ins by suffix": Lan(
        "conf-dir=/etc/dnsmasq.more/,*.conf\n",
        {
            "dnsmasq.more/lan.conf": REPORTED,
            "dnsmasq.more/lan.conf.old": "dhcp-range=192.168.1.5,192.168.1.6\n",
            "dnsmasq.d/options.dpkg-old": "port=0\n",
            "dnsmasq.d/.hidden.conf": "port=0\n",
            "dnsmasq.d/options": OPTIONS,
        },
    ),
    "command line": Lan(
        "",
        defaults=STOCK_DEFAULTS
        + 'LAN="--interface=lan0"\nDNSMASQ_OPTS="$LAN -F 10.98.0.50,10.98.0.150,12h"\nDNSMASQ_EXCEPT="lo"\n',
    ),
    "another main file": Lan(
        "dhcp-range=192.168.1.5,192.168.1.6\n",
        {"dnsmasq.alt": REPORTED + "bind-dynamic\n"},
        STOCK_DEFAULTS + 'DNSMASQ_OPTS="--conf-file=/etc/dnsmasq.alt"\n',
    ),
    "listen-address": Lan(
        "listen-address=10.98.0.1\nbind-dynamic\ndhcp-range=10.98.0.50,10.98.0.150\ndhcp-authoritative\n"
    ),
    "files of its own": Lan(
        f"interface=lan*\n{OFFICE}enable-tftp=lan0\ntftp-root=OFFICE,lan0\ndhcp-boot=tag:office,office.0\n{OPTIONS}"
        "dhcp-match=set:efi,option:client-arch,7\ndhcp-boot=tag:office,tag:efi,office.efi\n"
        "dhcp-host=52:54:00:0a:00:01,10.98.0.77,printer\n"
    ),
    "ignores clients' names of themselves": Lan(REPORTED + "dhcp-ignore-clid\ndhcp-lease-max=500\n"),
}


@pytest.fixture
def lan(request: pytest.FixtureRequest) -> Iterator[SharedServer]:
    with open_shared_server(request.param) as server:
        yield server


def place_of_office(lan: Lan, server: SharedServer) -> Lan:
    return Lan(lan.main.replace("OFFICE", str(server.network.directory / "office")), lan.files, lan.defaults)


def options(answer: dict[str, Any] | None, *codes: int) -> list[str | None]:
    assert answer is not None
    return [answer["options"].get(str(code)) for code in codes]


def file_of(answer: dict[str, Any]) -> str:
    return str(answer["file"] or bytes.fromhex(answer["options"].get("67", "")).rstrip(b"\0").decode())


QUICK = ("as reported", "command line", "files of its own")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.full) for name in LANS])
def test_a_pc_keeps_all_that_it_has_while_a_store_comes_and_goes(name: str) -> None:
    with open_shared_server(LANS[name]) as server:
        server.configure(place_of_office(LANS[name], server))
        server.start()
        before, configuration, booted = (
            server.seen_by_pc(),
            server.etc(),
            server.booted(PC) if before_leases(name) else [],
        )
        assert before["names"]["nas.lan"] == ["10.98.0.9"]
        assert (before["lease"] is not None) == before_leases(name)
        status, output = server.server_config(SECOND_DHCP, "--install")
        assert status == 0, output
        server.start()
        assert server.seen_by_pc() == before
        assert not booted or server.booted(PC) == booted
        check_client(server)
        assert server.server_config(SECOND_DHCP, "--uninstall")[0] == 0
        assert server.etc() == configuration
        server.start()
        assert server.seen_by_pc() == before
        assert server.network.lease(CLIENT_CARD) is None


def before_leases(name: str) -> bool:
    return name != "names only"


def check_client(server: SharedServer, subnet: str = "192.168.1.") -> None:
    """A client of the store has its own network's address and options, and the store's loader."""
    network = server.network
    for kind, loader in ((0, "pxelinux.0"), (7, "shimx64.efi")):
        (offer,) = network.discover(CLIENT_CARD, architecture=kind)
        assert offer["address"].startswith(subnet)
        assert file_of(offer) == loader
        # nobody said a router or a name server for this network
        assert options(offer, 3, 6, 209) == [None, None, None]
        assert options(offer, 208, 210) == ["f100747e", b"/".hex()]
    # firmware, initramfs and system name themselves differently: still one client
    leases = [network.lease(CLIENT_CARD, vendor=vendor, identity=identity) for vendor, identity in NAMED]
    assert len({lease["address"] if lease else None for lease in leases}) == 1
    network.address_client("192.168.1.77/24")
    assert network.fetch("192.168.1.1", "pxelinux.0") == {"content": "loader"}
    assert "error" in network.fetch("192.168.1.1", "office.0", 2)


NAMED = [("PXEClient:Arch:00000", "00" + "11" * 16), ("", ""), ("dhcpcd", "ff1234"), ("PXEClient", "00" + "11" * 16)]


@pytest.mark.parametrize("lan", [Lan(REPORTED + OPTIONS)], indirect=True)
def test_a_store_on_the_network_of_everybody(lan: SharedServer) -> None:
    """The case that was reported: the clients are on the network that dnsmasq gives addresses of."""
    lan.start()
    before = lan.seen_by_pc()
    site = SAME + f'clients: [{{mac: "{BOOTED_CARD}", name: lab1, address: 10.98.0.20}}]\n'
    status, output = lan.server_config(site, "--install")
    assert status == 0, output
    lan.start()
    # the store's files are for whoever asks for them there; a PC does not
    assert {**lan.seen_by_pc(), "file": before["file"]} == before
    for kind, loader in ((0, "pxelinux.0"), (7, "shimx64.efi")):
        (offer,) = lan.network.discover(BOOTED_CARD, architecture=kind, on=PC)
        assert (offer["address"], file_of(offer)) == ("10.98.0.20", loader)
        assert options(offer, 12, 208) == [b"lab1".hex(), "f100747e"]
        (unknown,) = lan.network.discover(CLIENT_CARD, architecture=kind, on=PC)
        assert unknown["address"].split(".")[:3] == ["10", "98", "0"]
        assert file_of(unknown) == loader
    # its system asks as a PC does, and is told what a PC is told
    system = lan.network.lease(BOOTED_CARD, on=PC, identity="ff1234")
    assert system is not None
    assert system["address"] == "10.98.0.20"
    assert options(system, 3, 6) == options(before["lease"], 3, 6)
    assert lan.network.fetch("10.98.0.1", "pxelinux.0", on=PC) == {"content": "loader"}
    addresses = {
        (lan.network.lease(BOOTED_CARD, on=PC, vendor=vendor, identity=identity) or {}).get("address")
        for vendor, identity in NAMED
    }
    assert addresses == {"10.98.0.20"}


@pytest.mark.parametrize("lan", [Lan(REPORTED)], indirect=True)
def test_what_was_edited_stays_and_a_look_changes_nothing(lan: SharedServer) -> None:
    before = lan.etc()
    status, output = lan.server_config(SECOND_DHCP, "--dry-run")
    assert status == 0
    assert "+dhcp-range=set:diskless,192.168.1.100" in output
    assert lan.etc() == before
    assert lan.server_config(SECOND_DHCP, "--install")[0] == 0
    lan.run("sed", "-i", "$a dhcp-host=52:54:00:00:00:77,192.168.1.33", "/etc/dnsmasq.d/diskless.conf")
    edited = lan.etc()
    status, output = lan.server_config(SECOND_DHCP.replace("199", "150"), "--install")
    assert status == 2
    assert "/etc/dnsmasq.d/diskless.conf was edited since this program wrote it" in output
    assert "-dhcp-host=52:54:00:00:00:77,192.168.1.33" in output
    assert lan.server_config(SECOND_DHCP, "--uninstall")[0] == 2
    assert lan.etc() == edited
    assert lan.server_config(SECOND_DHCP, "--uninstall", "--replace")[0] == 0
    assert "dnsmasq.d/diskless.conf" not in lan.etc()


@pytest.mark.parametrize("lan", [Lan(REPORTED)], indirect=True)
def test_two_stores_on_two_cards_and_no_two_on_one(lan: SharedServer) -> None:
    network = lan.network
    network.add_card("eth2", "192.168.2.1/24", "other")
    second = network.directory / "second"
    shutil.copytree(network.store, second)
    (second / "boot/pxelinux.0").write_text("second loader", "utf-8")
    lan.start()
    before = lan.seen_by_pc()
    assert lan.server_config(SECOND_DHCP, "--install")[0] == 0
    for site in (SECOND_DHCP, SECOND, SECOND_DHCP.replace("192.168.1.", "192.168.3."), SAME):
        refused = lan.server_config(site, "--install", store=second)
        assert (refused[0] == 2) == (site != SAME), refused
        assert site == SAME or f"of the store {network.store}" in refused[1], refused
        lan.server_config(SAME, "--uninstall", store=second)
    site = SECOND_DHCP.replace("192.168.1.", "192.168.2.").replace("eth1", "eth2")
    status, output = lan.server_config(site, "--install", store=second)
    assert status == 0, output
    assert "/etc/dnsmasq.d/diskless-2.conf" in output
    lan.start()
    assert lan.seen_by_pc() == before
    check_client(lan)
    (offer,) = network.discover(CLIENT_CARD, on="other")
    assert offer["address"].startswith("192.168.2.")
    network.run("ip", "address", "add", "192.168.2.9/24", "dev", "eth0", on="other")
    assert network.fetch("192.168.2.1", "pxelinux.0", on="other") == {"content": "second loader"}
    assert lan.server_config(SECOND_DHCP, "--uninstall")[0] == 0
    lan.start()
    assert lan.seen_by_pc() == before
    assert network.discover(CLIENT_CARD, on="other")[0]["address"].startswith("192.168.2.")


@pytest.mark.parametrize("lan", [Lan(REPORTED)], indirect=True)
def test_a_card_that_comes_late_keeps_nobody_waiting(lan: SharedServer) -> None:
    assert lan.server_config(SECOND_DHCP, "--install")[0] == 0
    lan.network.namespace.check(["ip", "link", "set", "eth1", "name", "away0"])
    lan.start()
    assert lan.seen_by_pc()["lease"] is not None
    lan.network.namespace.check(["ip", "link", "set", "away0", "name", "eth1"])
    check_client(lan)


@pytest.mark.parametrize("lan", [Lan("# as installed\n")], indirect=True)
def test_a_port_that_another_program_has_is_found_before_dnsmasq_is_stopped_by_it(lan: SharedServer) -> None:
    hold = "import socket, time; s = socket.socket(2, 2); s.bind(('', 69)); print('held', flush=True); time.sleep(600)"
    lan.network.start("holder", "held", "python3", "-c", hold)
    before = lan.etc()
    status, output = lan.server_config(SECOND_DHCP, "--install")
    assert status == 2
    assert "has UDP port 69 of this server" in output
    assert lan.etc() == before


# lines of networks as they may be, on lan0 and for all; which of them go together is for dnsmasq and the program to say
LINES = [
    "interface=lan0", "interface=lo", "except-interface=eth9", "no-dhcp-interface=eth1", "listen-address=10.98.0.1",
    "bind-interfaces", "bind-dynamic", "domain-needed", "expand-hosts", "domain=lan", "dhcp-authoritative",
    "dhcp-option=3,10.98.0.254", "dhcp-option=option:dns-server,10.98.0.1", "dhcp-option=tag:office,42,10.98.0.3",
    "dhcp-option=66,boothost", "dhcp-boot=office.0", "dhcp-boot=tag:office,office.0", "dhcp-ignore=tag:!known",
    "dhcp-ignore=tag:eth9", "dhcp-host=52:54:00:0a:00:01,10.98.0.77,set:boss", "dhcp-option=tag:boss,3,10.98.0.253",
    "dhcp-lease-max=120", "dhcp-lease-max=999", "enable-tftp", "enable-tftp=lan0", "tftp-root=OFFICE",
    "tftp-root=OFFICE,lan0", "tftp-secure", "dhcp-match=set:efi,option:client-arch,7", "dhcp-boot=tag:efi,office.efi",
    'pxe-service=x86PC,"Office",office', "pxe-prompt=\"Office\",1", "dhcp-option=vendor:PXEClient,6,2b", "port=53",
    "dhcp-vendorclass=set:office,PXEClient", "local-service", "dhcp-sequential-ip", "read-ethers", "no-ping",
    "dhcp-range=set:far,10.99.0.10,10.99.0.20,255.255.255.0", "dhcp-option-force=208,f1:00:74:7e", "dhcp-ignore-clid",
]  # fmt: skip
RANGES = ["dhcp-range=10.98.0.50,10.98.0.150,12h", OFFICE.strip(), "dhcp-range=10.98.0.0,static"]


def random_lan(chance: random.Random, office: str) -> Lan:
    lines: list[str] = [*chance.sample(LINES, chance.randint(2, 9)), chance.choice(RANGES)]
    chance.shuffle(lines)
    cut, more = chance.randint(0, len(lines)), chance.randint(0, len(lines))
    first, last = sorted((cut, more))
    text = "\n".join(lines).replace("OFFICE", office).split("\n")
    words = " ".join(f"'--{line}'" for line in text[last:] if '"' not in line and "pxe-" not in line)
    kept = [line for line in text[last:] if '"' in line or "pxe-" in line]
    defaults = STOCK_DEFAULTS + (f'DNSMASQ_OPTS="{words}"\n'.replace("'", "") if words else "")
    return Lan(
        "\n".join([*text[:first], *kept]) + "\n", {"dnsmasq.d/lan": "\n".join(text[first:last]) + "\n"}, defaults
    )


def starts(server: SharedServer) -> bool:
    """Whether dnsmasq takes the configuration at all."""
    try:
        server.start()
    except Exception as error:
        assert "dnsmasq" in str(error)
        server.service = None
        return False
    return True


def check_nobody_notices(seeds: Sequence[int], site: str) -> list[str]:
    """Whatever a network's dnsmasq is told: either nothing changes for it, or the line in the way is named."""
    said = []
    for seed in seeds:
        chance = random.Random(seed)
        with open_shared_server(Lan("")) as server:
            server.configure(random_lan(chance, str(server.network.directory / "office")))
            if not starts(server):
                said.append("does not start")
                continue
            before, configuration = (server.seen_by_pc(), server.booted_or_not(PC)), server.etc()
            status, output = server.server_config(site, "--install")
            assert status in (0, 2), (seed, output)
            if status == 2:
                assert server.etc() == configuration, seed
                assert ": " in output, seed
                said.append(output.partition("\n")[0])
                continue
            assert starts(server), (seed, output)
            assert (server.seen_by_pc(), server.booted_or_not(PC)) == before, seed
            if "dhcp:" in site:
                (offer,) = server.network.discover(CLIENT_CARD)
                assert (offer["address"][:10], file_of(offer)) == ("192.168.1.", "pxelinux.0"), seed
                assert options(offer, 3, 6) == [None, None], seed
            said.append("installed")
    return said


def test_nobody_notices_whatever_dnsmasq_is_told() -> None:
    said = check_nobody_notices(range(4), SECOND_DHCP)
    assert "installed" in said
    assert len(set(said)) > 1


@pytest.mark.full
@pytest.mark.parametrize("part", range(10))
def test_nobody_notices_whatever_dnsmasq_is_told_for_long(part: int) -> None:
    said = check_nobody_notices(range(1000 + part * 40, 1000 + part * 40 + 40), SECOND_DHCP)
    assert "installed" in said
