"""Every text of a server's configuration is accepted by the program that it is for, and does what it says."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.checks.site import site_contradictions
from builder.model.site import Site, SiteClient
from builder.render.server.boot_files import choose_boot_files
from builder.render.server.files import Format, possible_formats, server_files
from tests.integration.servers.server_network import KNOWN, ROUTER, UNKNOWN, ServerNetwork, open_site
from tests.require import needs_root, needs_tool
from tests.shares import served
from tests.unit.render.test_server_config import KNOWN_ONLY, SITES

pytestmark = [
    needs_root,
    needs_tool(
        "unshare",
        "setpriv",
        "ip",
        "ss",
        "nsenter",
        "dnsmasq",
        "dhcpd",
        "kea-dhcp4",
        "in.tftpd",
        "xinetd",
        "nft",
        "nginx",
    ),
    needs_tool("exportfs", "nfsconf", "ganesha.nfsd", "rpcbind", "rpcinfo", "systemd-analyze"),
    pytest.mark.root,
]


ODD_NAMES = Site(
    server="192.168.1.1",
    clients=tuple(
        SiteClient(mac=f"52:54:00:00:01:{number:02x}", name=name, address=f"192.168.1.{number}")
        for number, name in enumerate(("deadbeef", "set", "1h2", "0a", "12-34", "infinite1", "aa-bb-cc-dd-ee-ff"), 50)
    ),
)


@pytest.fixture(params=SITES)
def site(request: pytest.FixtureRequest) -> Site:
    return {**SITES, "odd-names": ODD_NAMES, "without-http": WITHOUT_HTTP}[request.param]


@pytest.fixture
def network(site: Site) -> Iterator[ServerNetwork]:
    with open_site(site) as opened:
        yield opened


def damaged(path: Path, old: str, new: str) -> Path:
    """A copy with a mistake in it: the checker must see it, or the test shows nothing."""
    text = path.read_text("utf-8")
    assert old in text
    copy = path.with_name(f"damaged-{path.name}")
    copy.write_text(text.replace(old, new, 1), "utf-8")
    return copy


def test_every_text_is_checked_by_its_program(network: ServerNetwork, site: Site) -> None:
    checks = {
        Format.DNSMASQ: lambda path: network.run("dnsmasq", "--test", f"--conf-file={path}"),
        Format.DNSMASQ_PROXY: lambda path: network.run("dnsmasq", "--test", f"--conf-file={path}"),
        Format.ROUTER: lambda path: network.run("dnsmasq", "--test", f"--conf-file={path}"),
        Format.DHCPD: lambda path: network.run("dhcpd", "-t", "-cf", path),
        Format.KEA: lambda path: network.run("kea-dhcp4", "-t", path),
        Format.FIREWALL: lambda path: network.run("nft", "--check", "--file", path),
    }
    mistakes = {
        Format.DNSMASQ: ("dhcp-boot", "dhcp-boots"),
        Format.DNSMASQ_PROXY: ("proxy,", "proxies,"),
        Format.ROUTER: ("dhcp-option-force", "dhcp-options-force"),
        Format.DHCPD: ("next-server", "next-servers"),
        Format.KEA: ("boot-file-name", "boot-file-names"),
        Format.FIREWALL: ("dport", "dports"),
    }
    for form in possible_formats(site, served(network.store)):
        if form in checks:
            path = network.render(form, site)
            status, output = checks[form](path)
            assert status == 0, f"{form}: {output}"
            assert checks[form](damaged(path, *mistakes[form]))[0] != 0, form


def test_systemd_accepts_the_unit(network: ServerNetwork, site: Site) -> None:
    unit = network.write("diskless-tftpd.service", server_files(Format.TFTPD, site, served(network.store))[1].text)
    verify = ("systemd-analyze", "verify", "--man=no")  # a host need not have man-db
    assert network.run(*verify, unit) == (0, "")
    wrong = network.write("wrong.service", unit.read_text("utf-8").replace("ExecStart=", "ExecStrat="))
    assert network.run(*verify, wrong)[1] != ""


@pytest.mark.parametrize("site", ["smallest", "full"], indirect=True)
def test_exportfs_exports_the_store_to_the_subnet(network: ServerNetwork, site: Site) -> None:
    network.make_etc_private()
    network.namespace.check(["cp", "/dev/null", "/etc/exports"])
    network.namespace.check(["touch", "/var/lib/nfs/etab", "/var/lib/nfs/rmtab"])
    sitefile = network.write("site.yml", f"server: {site.server}\nsubnet: {site.network}\n")
    diskless = Path(sys.executable).with_name("diskless")
    command = (diskless, "server-config", "--to", network.store, "--site", sitefile, "--format", "exports", "--install")
    status, output = network.run(*command)
    assert status == 0, output
    exported = exports_of(network)
    assert len(exported) == 3
    for directory, (fsid, access) in {"ro": ("3", "ro"), "versions": ("1", "ro"), "writable": ("2", "rw")}.items():
        who, words = exported[f"{network.store}/{directory}"]
        assert who == str(site.network)
        assert {f"fsid={fsid}", access, "sync", "no_root_squash", "no_subtree_check"} <= set(words)
        assert ("mountpoint" in words) == (directory == "ro")
    network.namespace.check(["sed", "-i", "s/no_root_squash,/no_rootsquash,/", "/etc/exports.d/diskless.exports"])
    assert "unknown keyword" in network.run("exportfs", "-ra")[1]


def exports_of(network: ServerNetwork) -> dict[str, tuple[str, list[str]]]:
    """Who may mount a directory, and the options, as the kernel's server is told."""
    assert network.run("exportfs", "-ra") == (0, "")
    listed = " ".join(network.run("exportfs", "-v")[1].split())
    return {where: (who, words.split(",")) for where, who, words in re.findall(r"(\S+) (\S+)\((.*?)\)", listed)}


@pytest.mark.parametrize("site", ["smallest"], indirect=True)
def test_mountd_reads_its_port(network: ServerNetwork, site: Site) -> None:
    path = network.render(Format.EXPORTS, site, 1)
    assert network.run("nfsconf", "--file", path, "--get", "mountd", "port") == (0, "20048\n")


@pytest.mark.parametrize("site", ["smallest"], indirect=True)
@pytest.mark.parametrize("kind", ["unit", "defaults", "xinetd"])
def test_in_tftpd_serves_the_store_and_nothing_else(kind: str, network: ServerNetwork, site: Site) -> None:
    boot = network.store / "boot"
    (boot / "out").symlink_to("/etc/hostname")
    (boot / "inside").symlink_to("pxelinux.cfg/default")
    start_in_tftpd(kind, network, site)
    network.address_client(f"{site.network[77]}/{site.network.prefixlen}")
    for name in ("pxelinux.cfg/default", "/pxelinux.cfg/default", "inside"):
        assert network.fetch(site.server, name) == {"content": "x" * 3000}, name
    for name in ("out", "../site.yml", "pxelinux.cfg/01-52-54-00-00-00-01", str(boot / "pxelinux.0")):
        assert "error" in network.fetch(site.server, name), name


def start_in_tftpd(kind: str, network: ServerNetwork, site: Site) -> None:
    """Starts it as systemd, Debian's init script or xinetd would."""
    if kind == "unit":
        text = network.render(Format.TFTPD, site, 1).read_text("utf-8")
        argv = next(line for line in text.splitlines() if line.startswith("ExecStart=")).partition("=")[2].split()
    elif kind == "defaults":
        script = (
            '. "$1"; exec in.tftpd -L --user "$TFTP_USERNAME" --address "$TFTP_ADDRESS" $TFTP_OPTIONS "$TFTP_DIRECTORY"'
        )
        argv = ["sh", "-c", script, "sh", str(network.render(Format.TFTPD, site))]
    else:
        argv = ["xinetd", "-dontfork", "-filelog", "/run/xinetd.log", "-f", str(network.render(Format.XINETD, site))]
    network.start_until(kind, lambda: network.listens(69, udp=True), *argv)


@pytest.mark.parametrize("site", ["full"], indirect=True)
def test_nginx_serves_the_store_to_the_subnet_only(network: ServerNetwork, site: Site) -> None:
    start_nginx(network, site)
    url = f"http://{site.server}:8080/pxelinux.cfg/default"
    assert get(network, url, "192.168.1.77/22") == "200 3000"
    assert get(network, url, "10.0.0.1/8") == "403 0"
    assert get(network, f"http://{site.server}:8080/../site.yml", "192.168.1.77/22").startswith("4")


def start_nginx(network: ServerNetwork, site: Site) -> None:
    """Checks and starts nginx with our server block, as the only one; `requests` is its log."""
    block = network.render(Format.NGINX, site)
    log = f"log_format plain '$request'; access_log {network.directory}/requests plain;"
    text = f"daemon off; pid {network.directory}/pid; error_log stderr; events {{}} http {{ {log} include {block}; }}"
    config = network.write("nginx.conf", text)
    status, output = network.run("nginx", "-t", "-c", config)
    assert status == 0, output
    network.start_until("nginx", lambda: network.listens(site.http_port or 80, udp=False), "nginx", "-c", config)


def get(network: ServerNetwork, url: str, address: str) -> str:
    """Status and length of what a client with this address gets."""
    network.address_client(address)
    network.run("ip", "route", "replace", "default", "dev", "eth0", on="client")
    network.run("ip", "route", "replace", "10.0.0.0/8", "dev", "eth1")
    script = (
        "import sys, urllib.request, urllib.error\n"
        "try:\n    answer = urllib.request.urlopen(sys.argv[1], timeout=10)\n"
        "    print(answer.status, len(answer.read()))\n"
        "except urllib.error.HTTPError as error:\n    print(error.code, 0)\n"
    )
    return network.run("python3", "-I", "-c", script, url, on="client")[1].strip()


def options(answer: dict[str, Any], *codes: int) -> list[str | None]:
    return [answer["options"].get(str(code)) for code in codes]


def check_offer(answer: dict[str, Any], site: Site) -> None:
    """What PXELINUX and its firmware need, although nobody asks for 208 and 210."""
    loader, prefix = "pxelinux.0", "/"
    if site.http_port is not None:
        port = "" if site.http_port == 80 else f":{site.http_port}"
        loader, prefix = "lpxelinux.0", f"http://{site.server}{port}/"
    assert answer["sender"] == site.server
    assert answer["next_server"] == site.server
    assert file_of(answer) == loader
    assert options(answer, 208, 209, 210) == ["f100747e", None, prefix.encode().hex()]


def file_of(answer: dict[str, Any]) -> str:
    """The boot file, in its own field or as option 67."""
    return str(answer["file"] or bytes.fromhex(answer["options"]["67"]).rstrip(b"\0").decode())


def start_dhcp(network: ServerNetwork, form: Format, site: Site) -> None:
    config = network.render(form, site)
    if form is Format.DHCPD:
        leases = network.write("leases", "")
        arguments = ("-4", "-f", "-d", "-cf", config, "-lf", leases, "-pf", network.directory / "pid")
        network.start("dhcpd", "Server starting service", "dhcpd", *arguments, *(site.interfaces or ("eth1",)))
        return
    if form is Format.KEA:
        for command in ("mount -t tmpfs tmpfs /var/lib", "mkdir /run/kea /var/lib/kea /var/lib/nginx"):
            network.namespace.check(command.split())
        network.start("kea", "DHCP4_STARTED", "kea-dhcp4", "-c", config)
        return
    files = (f"--conf-file={config}", f"--dhcp-leasefile={network.directory}/leases")
    foreground = ("--keep-in-foreground", "--user=root", "--log-facility=-", "--pid-file", "--no-ping")
    network.start("dnsmasq", "started, ", "dnsmasq", *foreground, *files)


@pytest.mark.parametrize("site", ["full", "known-only"], indirect=True)
@pytest.mark.parametrize("form", [Format.DNSMASQ, Format.DHCPD, Format.KEA])
def test_clients_are_offered_addresses_and_the_loader(form: Format, network: ServerNetwork, site: Site) -> None:
    start_dhcp(network, form, site)
    (known,) = network.discover(KNOWN)
    check_offer(known, site)
    assert known["address"] == "192.168.1.10"
    assert options(known, 12) == [b"lab1".hex()]
    if site is KNOWN_ONLY:
        assert network.discover(UNKNOWN, answers=0) == []
        assert options(known, 3, 6) == [None, None]
        return
    (unknown,) = network.discover(UNKNOWN)
    check_offer(unknown, site)
    assert unknown["address"].startswith("192.168.2.")
    assert options(unknown, 1, 3) == ["fffffc00", "c0a803fe"]
    # for ever; dhcpd counts to January 2038
    assert unknown["options"]["51"] == "ffffffff" or form is Format.DHCPD
    assert int(unknown["options"]["51"], 16) > 2**25
    assert options(unknown, 6) == ["c0a803fec0a80002"]


# what firmware says of itself, its user class, and what it is to fetch over TFTP, or with a web server over HTTP
KINDS = [
    (0, "", "pxelinux.0", "lpxelinux.0"),
    (7, "", "shimx64.efi", "shimx64.efi"),
    (9, "", "shimx64.efi", "shimx64.efi"),
    (16, "", None, "http://{}/shimx64.efi"),
    (0, "iPXE", "ipxe/boot.ipxe", "http://{}/ipxe/boot.ipxe"),
    (7, "iPXE", "ipxe/boot.ipxe", "http://{}/ipxe/boot.ipxe"),
]
# of a proxy's menu (option 43, 9): a length, then an entry's type and its name
MENU_ENTRY = re.compile(rb"\x09.(..)\x08diskless", re.DOTALL)
WITHOUT_HTTP = dataclasses.replace(KNOWN_ONLY, http_port=None)


@pytest.mark.parametrize("site", ["full", "without-http"], indirect=True)
@pytest.mark.parametrize("form", [Format.DNSMASQ, Format.DHCPD, Format.KEA, Format.ROUTER])
def test_each_kind_of_firmware_gets_its_loader(form: Format, network: ServerNetwork, site: Site) -> None:
    if form is Format.ROUTER:
        own = network.render(Format.ROUTER, site).read_text("utf-8")
        start_router(network, f"dhcp-range={site.network[100]},{site.network[199]},{site.network.netmask},1h\n{own}")
    else:
        start_dhcp(network, form, site)
    for architecture, user_class, over_tftp, over_http in KINDS:
        wanted = over_tftp if site.web_server is None else over_http.format(site.web_server)
        (answer,) = network.discover(KNOWN, architecture=architecture, user_class=user_class)
        if wanted is not None:
            assert file_of(answer) == wanted, (architecture, user_class)
        # firmware that boots over HTTP passes over every offer without it
        is_http = architecture == 16 and site.web_server is not None
        assert (answer["options"].get("60") == b"HTTPClient".hex()) is is_http, architecture
        if over_http.startswith("http") and site.web_server is not None:
            continue  # an address in itself
        assert answer["next_server"] == site.server


@pytest.mark.parametrize("site", ["full", "without-http"], indirect=True)
@pytest.mark.parametrize("by_proxy", [False, True])
def test_the_kinds_are_all_that_texts_promise_an_answer(site: Site, by_proxy: bool) -> None:
    asked = {architecture for architecture, user_class, *_ in KINDS if not user_class}
    assert set(choose_boot_files(site, served("/store"), by_proxy=by_proxy).firmware) <= asked


@pytest.mark.parametrize("site", ["odd-names"], indirect=True)
@pytest.mark.parametrize("form", [Format.DNSMASQ, Format.DHCPD])
def test_a_name_is_never_read_as_something_else(form: Format, network: ServerNetwork, site: Site) -> None:
    # dnsmasq has one list of words for addresses, lease times, names and orders
    assert site_contradictions(site) == []
    start_dhcp(network, form, site)
    for client in site.clients:
        (answer,) = network.discover(client.mac)
        assert (answer["address"], options(answer, 12)) == (client.address, [(client.name or "").encode().hex()])


@pytest.mark.parametrize("site", ["smallest"], indirect=True)
def test_a_proxy_names_the_loader_beside_a_router_that_gives_addresses(network: ServerNetwork, site: Site) -> None:
    router = str(site.network[-2])
    start_dhcp(network, Format.DNSMASQ_PROXY, site)
    start_router(network, f"dhcp-range={site.network[100]},{site.network[199]},255.255.255.0,1h\n")
    proxy, address = network.discover(UNKNOWN, answers=2)
    assert (proxy["sender"], proxy["address"]) == (site.server, "0.0.0.0")
    assert (proxy["next_server"], proxy["file"]) == (site.server, "pxelinux.0")
    assert options(proxy, 60) == [b"PXEClient".hex()]
    # PXE discovery control (6), a menu (9) with our entry, type 0x8000
    menu = bytes.fromhex(proxy["options"]["43"])
    assert menu[0] == 6
    assert b"\x80\x00\x08diskless" in menu
    assert (address["sender"], address["file"], address["next_server"]) == (router, "", router)
    network.address_client(f"{address['address']}/24")
    (answer,) = network.request_at_4011(UNKNOWN, site.server, address["address"], chosen="8000")
    assert (answer["next_server"], answer["file"]) == (site.server, "pxelinux.0")
    assert network.fetch(site.server, "pxelinux.0") == {"content": "loader"}


@pytest.mark.parametrize("site", ["smallest"], indirect=True)
def test_a_proxy_tells_each_kind_of_firmware_its_loader(network: ServerNetwork, site: Site) -> None:
    """In the menu of port 4011 as in the offer: iPXE that got its own file there loaded itself for ever.

    UEFI gets iPXE, since GRUB would ask the router for its menu.
    """
    start_dhcp(network, Format.DNSMASQ_PROXY, site)
    start_router(network, f"dhcp-range={site.network[100]},{site.network[199]},255.255.255.0,1h\n")
    for architecture, user_class, over_tftp, _ in KINDS:
        if over_tftp is None:
            continue
        wanted = over_tftp.replace("shimx64.efi", "ipxe/ipxe.efi")
        kind = f"{architecture} {user_class}"
        proxy, address = network.discover(UNKNOWN, 2, architecture=architecture, user_class=user_class)
        # UEFI gets neither file nor menu in the offer, and asks at port 4011
        menu = MENU_ENTRY.search(bytes.fromhex(proxy["options"].get("43", "")))
        if architecture == 0:
            assert file_of(proxy) == wanted, kind
        else:
            assert menu is None, kind
        network.address_client(f"{address['address']}/24")
        (answer,) = network.request_at_4011(
            UNKNOWN,
            site.server,
            address["address"],
            chosen=menu[1].hex() if menu else "",
            architecture=architecture,
            user_class=user_class,
        )
        assert (answer["next_server"], answer["file"]) == (site.server, wanted), kind


@pytest.mark.parametrize("site", ["known-only"], indirect=True)
def test_a_router_with_our_lines_sends_clients_to_this_server(network: ServerNetwork, site: Site) -> None:
    own = network.render(Format.ROUTER, site).read_text("utf-8")
    start_router(network, f"dhcp-range={site.network[100]},{site.network[199]},255.255.255.0,1h\n{own}")
    (answer,) = network.discover(KNOWN)
    assert answer["address"] == "192.168.1.10"
    check_offer({**answer, "sender": site.server}, site)


# what doctor says of DHCP on the server's network
EXAMINE = """\
import dataclasses, json, sys
from builder.model.share import ServedStore
from builder.model.site import Site
from builder.probes.dhcp_answers import examine_dhcp
found = examine_dhcp(Site(server=sys.argv[1], interface="eth1", http_port=80), ServedStore(sys.argv[2], ()), 2)
print(json.dumps([dataclasses.asdict(finding) for finding in found]))
"""


@pytest.mark.parametrize("site", ["smallest"], indirect=True)
def test_doctor_finds_a_proxy_beside_a_router_well(network: ServerNetwork, site: Site) -> None:
    start_dhcp(network, Format.DNSMASQ_PROXY, site)
    start_router(network, f"dhcp-range={site.network[100]},{site.network[199]},255.255.255.0,1h\n")
    status, output = network.run(sys.executable, "-c", EXAMINE, site.server, network.store)
    assert status == 0, output
    found = {finding["name"]: (finding["level"], finding["text"]) for finding in json.loads(output)}
    assert {level for level, _ in found.values()} == {"ok"}, found
    assert set(found) == {
        site.server,
        str(site.network[-2]),
        "iPXE",
        "UEFI (7)",
        "UEFI, as some firmware calls itself (9)",
    }
    assert found["UEFI (7)"][1] == f"is told by the proxy {site.server} at its port 4011, which was not asked"


def start_router(network: ServerNetwork, text: str) -> None:
    config = network.write("router.conf", f"port=0\ninterface=eth0\nbind-interfaces\n{text}")
    foreground = ("--keep-in-foreground", "--user=root", "--log-facility=-", "--pid-file", "--no-ping")
    files = (f"--conf-file={config}", f"--dhcp-leasefile={network.directory}/router.leases")
    network.start("router", "sockets bound", "dnsmasq", *foreground, *files, on=ROUTER)


@pytest.mark.parametrize("site", ["full"], indirect=True)
def test_the_firewall_lets_clients_in_and_nobody_else(network: ServerNetwork, site: Site) -> None:
    closed = "table inet filter {\n chain input {\n type filter hook input priority filter; policy drop;\n }\n}\n"
    network.namespace.check(["nft", "--file", str(network.write("closed.nft", closed))])
    start_dhcp(network, Format.DNSMASQ, site)
    network.address_client("192.168.1.77/22")
    assert network.discover(KNOWN, answers=0) == []
    assert network.fetch(site.server, "pxelinux.0", seconds=2) == {"error": "no answer"}
    network.namespace.check(["nft", "--file", str(network.render(Format.FIREWALL, site))])
    check_offer(network.discover(KNOWN)[0], site)
    assert network.fetch(site.server, "pxelinux.cfg/default") == {"content": "x" * 3000}
    network.address_client("10.0.0.1/8")
    network.run("ip", "route", "replace", "default", "dev", "eth0", on="client")
    network.run("ip", "route", "replace", "10.0.0.0/8", "dev", "eth1")
    assert network.fetch(site.server, "pxelinux.0", seconds=2) == {"error": "no answer"}
