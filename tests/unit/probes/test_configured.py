"""dnsmasq's, dhcpd's and the NFS server's files are read as they read them, and what is in the way is named."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from builder.errors import HostError, InputError
from builder.model.share import ServedStore, Share
from builder.model.site import Site, SiteClient, SiteDhcp, SiteNetwork
from builder.probes.configured.dhcpd import read_dhcpd, refuse_in_dhcpd
from builder.probes.configured.dnsmasq import read_dnsmasq, unquoted, value_parts
from builder.probes.configured.dnsmasq_guest import fit_dnsmasq
from builder.probes.configured.exports import fit_exports, read_exports
from builder.probes.configured.nfs_conf import other_mountd_port
from builder.probes.configured.stock import is_stock
from builder.render.server.files import Format
from builder.server_config.guest import find_place
from builder.server_config.memory import read_memory
from tests.require import needs_tool
from tests.shares import served

STORE = served("/disklessroot")
SECOND = Site(
    server="192.168.1.1", interface="eth1", dhcp=SiteDhcp(first="192.168.1.100", last="192.168.1.199"),
    clients=(SiteClient(mac="52:54:00:00:00:01", name="lab1", address="192.168.1.10"),),
)  # fmt: skip
SAME = Site(server="10.98.0.1", interface="lan0")
LAN = "interface=lan0\ninterface=eth1\ndhcp-range=10.98.0.50,10.98.0.150,12h\n"
ARCH_UNIT = "[Service]\nExecStart=/usr/bin/dnsmasq -k --enable-dbus --user=dnsmasq --pid-file\n"


def write(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return root


def said(root: Path) -> list[tuple[str, str, str | None]]:
    """Place, name and value of all that dnsmasq is told."""
    return [
        (one.place, one.name, None if one.value is None else unquoted(one.value))
        for one in read_dnsmasq(root).directives
    ]


def test_the_main_file_is_read_after_the_command_line_and_each_file_once(tmp_path: Path) -> None:
    write(tmp_path, {
        "etc/default/dnsmasq": "# CONFIG_DIR=/nowhere\nA=5353\nCONFIG_DIR=/etc/dnsmasq.d,.dpkg-old\n"
                               'DNSMASQ_OPTS="--port=$A -z \\\n  --interface lan0"\nDNSMASQ_EXCEPT="lo eth9"\n',
        "etc/dnsmasq.d/b": "no-resolv\n", "etc/dnsmasq.d/a": "conf-file=/etc/more # twice\n",
        "etc/dnsmasq.d/c.dpkg-old": "port=1\n", "etc/dnsmasq.d/.d": "port=2\n", "etc/dnsmasq.d/e~": "port=3\n",
        "etc/dnsmasq.d/#f#": "port=4\n", "etc/more": "domain=x\n",
        "etc/dnsmasq.conf": "\n  cache-size = 0 \nconf-file=/etc/more\n",
    })  # fmt: skip
    assert said(tmp_path) == [
        ("/etc/default/dnsmasq:6", "except-interface", "lo"),
        ("/etc/default/dnsmasq:6", "except-interface", "eth9"),
        ("/etc/default/dnsmasq:3", "conf-dir", "/etc/dnsmasq.d,.dpkg-old"),
        ("/etc/dnsmasq.d/a:1", "conf-file", "/etc/more"),
        ("/etc/more:1", "domain", "x"),
        ("/etc/dnsmasq.d/b:1", "no-resolv", None),
        ("/etc/default/dnsmasq:4", "port", "5353"),
        ("/etc/default/dnsmasq:4", "bind-interfaces", None),
        ("/etc/default/dnsmasq:4", "interface", "lan0"),
        ("/etc/dnsmasq.conf:2", "cache-size", "0"),
        ("/etc/dnsmasq.conf:3", "conf-file", "/etc/more"),
    ]


def test_what_is_added_to_a_variable_is_named_by_its_own_line(tmp_path: Path) -> None:
    write(tmp_path, {"etc/default/dnsmasq": 'DNSMASQ_OPTS="-p 5"\n#\nDNSMASQ_OPTS+=" -i lan0"\n'})
    assert said(tmp_path)[1] == ("/etc/default/dnsmasq:3", "interface", "lan0")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"usr/lib/systemd/system/dnsmasq.service": ARCH_UNIT, "etc/default/dnsmasq": "DNSMASQ_OPTS=-p5\n"}, []),
        (
            {
                "usr/lib/systemd/system/dnsmasq.service": ARCH_UNIT,
                "etc/systemd/system/dnsmasq.service.d/x.conf": "[Service]\nExecStart=\n"
                "ExecStart=/usr/bin/dnsmasq -k -C /etc/other --port=${P}\nEnvironment=P=54\n",
                "etc/other": "domain=y\n",
                "etc/dnsmasq.conf": "domain=never\n",
            },
            ["port=54", "domain=y"],
        ),
        (
            {
                "lib/systemd/system/dnsmasq.service": "[Service]\nEnvironmentFile=-/etc/sysconfig/d\n"
                "ExecStart=/usr/sbin/dnsmasq $OPTIONS\n",
                "etc/sysconfig/d": 'OPTIONS="-i lan0 -F 10.0.0.5,10.0.0.9"\n',
            },
            ["interface=lan0", "dhcp-range=10.0.0.5,10.0.0.9"],
        ),
        ({"etc/conf.d/dnsmasq": 'DNSMASQ_OPTS="--port 0"\n'}, ["port=0"]),
    ],
)
def test_the_command_line_is_the_services(files: dict[str, str], expected: list[str], tmp_path: Path) -> None:
    write(tmp_path, files)
    found = [
        f"{name}={value}" for _, name, value in said(tmp_path) if name in ("port", "interface", "dhcp-range", "domain")
    ]
    assert found == expected


def test_quotation_marks_hide_commas_and_comments(tmp_path: Path) -> None:
    write(tmp_path, {"etc/dnsmasq.conf": 'txt-record="a,b#c",d#e # f\ndhcp-boot="x\\"y",z\n'})
    first, second = read_dnsmasq(tmp_path).directives
    assert value_parts(first.value) == ["a,b#c", "d#e"]
    assert value_parts(second.value) == ['x"y', "z"]


def test_lists_of_hosts_and_ethers_are_read(tmp_path: Path) -> None:
    write(tmp_path, {
        "etc/dnsmasq.conf": "dhcp-hostsfile=/etc/hosts.d\ndhcp-optsfile=/etc/opts\nread-ethers\n",
        "etc/hosts.d/a": "# x\n52:54:00:00:00:05,10.0.0.5\n", "etc/opts": "tag:a,3,10.0.0.1\n",
        "etc/ethers": "52:54:00:00:00:06 10.0.0.6 # y\n",
    })  # fmt: skip
    found = [one for one in said(tmp_path) if one[1] in ("dhcp-host", "dhcp-option")]
    assert found == [
        ("/etc/hosts.d/a:2", "dhcp-host", "52:54:00:00:00:05,10.0.0.5"),
        ("/etc/opts:1", "dhcp-option", "tag:a,3,10.0.0.1"),
        ("/etc/ethers:1", "dhcp-host", "52:54:00:00:00:06,10.0.0.6"),
    ]


@needs_tool("dnsmasq")
@pytest.mark.parametrize("rule", ["", ",*.conf", ",.conf", ",*", ",*.conf,*.d", ",.old,*.conf", ",,*.conf,"])
def test_dnsmasq_reads_the_files_of_a_directory_that_we_read(rule: str, tmp_path: Path) -> None:
    names = ["a", "a.conf", ".conf", "x.conf~", "#a#", "b.d", "c.old", "d.conf.old", "e.old.conf", "conf"]
    for name in names:
        write(tmp_path, {f"d/{name}": f"bad-{name.strip('~#').replace('.', '-')}\n"})
        taken = subprocess.run(
            ["dnsmasq", "--test", "-C", "/dev/null", f"--conf-dir={tmp_path}/d{rule}"], capture_output=True, check=False
        )
        (tmp_path / "d" / name).unlink()
        write(tmp_path, {f"root/d/{name}": "port=1\n", "root/etc/dnsmasq.conf": f"conf-dir=/d{rule}\n"})
        read = read_dnsmasq(tmp_path / "root").named("port")
        (tmp_path / "root/d" / name).unlink()
        assert bool(read) == (taken.returncode != 0), name


# what is in the way on the server whose second card has the store's clients: the line of dnsmasq.conf, and the remedy
OBSTACLES = [
    ("no-dhcp-interface=eth1", "take eth1 out of that line"),
    ("except-interface=eth*", "take eth1 out of that line"),
    ("dhcp-range=192.168.1.20,192.168.1.30", "leave dhcp out of site.yml"),
    ("dhcp-range=set:x,192.168.1.0,static", "leave dhcp out of site.yml"),
    ("dhcp-range=192.168.1.0,proxy", "remove that line"),
    ("dhcp-range=192.168.0.5,192.168.0.9,255.255.0.0", "leave dhcp out of site.yml"),
    ("dhcp-boot=other.0", "put tag:!diskless, at the beginning"),
    ("dhcp-boot=tag:efi,other.efi", "put tag:!diskless, at the beginning"),
    ("dhcp-boot=tag:!office,other.0", "put tag:!diskless, at the beginning"),
    ("dhcp-boot=tag:eth1,other.0", "put tag:!diskless, at the beginning"),
    ("dhcp-boot=net:known,other.0", "put tag:!diskless, at the beginning"),
    ('pxe-service=x86PC,"a",b', "put tag:!diskless, at the beginning"),
    ("pxe-prompt=x,5", "put tag:!diskless, at the beginning"),
    ("dhcp-option=66,nas", "put tag:!diskless, at the beginning"),
    ("dhcp-option=option:bootfile-name,x", "put tag:!diskless, at the beginning"),
    ("dhcp-option-force=209,menu", "put tag:!diskless, at the beginning"),
    ("dhcp-option=efi,67,x", "put tag:!diskless, at the beginning"),
    ("dhcp-ignore=tag:!known", "add ,tag:!eth1"),
    ("dhcp-ignore=tag:efi", "add ,tag:!eth1"),
    ("dhcp-host=52:54:0:0:0:1,10.98.0.7", "leave one of the two out"),
    ("dhcp-host=aa:bb:cc:dd:ee:ff,192.168.1.10", "leave one of the two out"),
    ("dhcp-host=aa:bb:cc:dd:ee:ff,lab1,10.98.0.7", "leave one of the two out"),
    ("tftp-secure", "--format tftpd"),
    ("tftp-unique-root", "--format tftpd"),
    ("enable-tftp", "put the cards there that it is for, all but eth1: enable-tftp=NAME"),
    ("enable-tftp=lan0,eth1", "put the cards there that it is for"),
    ("tftp-root=/srv,eth1", "remove that line"),
    ("dhcp-lease-max=150", "put dhcp-lease-max=202 there"),
    ("dhcp-relay=192.168.1.1,10.0.0.1", "configure that other server"),
    ("dhcp-alternate-port", "--format dhcpd"),
]


@pytest.mark.parametrize(("line", "hint"), OBSTACLES)
def test_the_line_in_the_way_is_named_with_what_to_put_there(line: str, hint: str, tmp_path: Path) -> None:
    more = "dhcp-match=set:efi,option:client-arch,7\n"
    write(tmp_path, {"etc/dnsmasq.conf": f"{LAN}{more}{line}\n"})
    with pytest.raises(InputError) as caught:
        fit_dnsmasq(tmp_path, SECOND, STORE)
    assert f"/etc/dnsmasq.conf:5: {line.split('=')[0]}" in caught.value.message
    assert hint in (caught.value.hint or "")
    assert caught.value.exit_code == 2


# lines that say something of others only
HARMLESS = [
    "dhcp-boot=tag:office,other.0", "dhcp-boot=tag:lan0,other.0", "dhcp-boot=tag:!diskless,other.0",
    "dhcp-boot=tag:!eth1,other.0", "dhcp-option=3,10.98.0.254", "dhcp-option=option:dns-server,10.98.0.1",
    "dhcp-option=tag:office,66,nas", "dhcp-option=option:ntp-server,10.98.0.2", "dhcp-option=office,67,x",
    "dhcp-option=encap:175,190,user", "dhcp-option=option6:67,x", "enable-tftp=lan0", "tftp-root=/srv", "port=0",
    "tftp-root=/srv,lan0", "dhcp-host=52:54:00:00:00:02,10.98.0.7,lab2", "dhcp-ignore=tag:office", "bind-interfaces",
    "dhcp-ignore=tag:!known,tag:!eth1", "except-interface=eth10", "dhcp-lease-max=202", "dhcp-authoritative",
    "dhcp-range=::1,constructor:eth1", "dhcp-relay=10.98.0.1,10.0.0.1", "dhcp-range=192.168.2.5,192.168.2.9",
    "dhcp-host=52:54:00:00:00:02,ignore", "dhcp-ignore-clid",
]  # fmt: skip


@pytest.mark.parametrize("line", HARMLESS)
def test_what_is_said_of_others_is_no_reason_to_refuse(line: str, tmp_path: Path) -> None:
    write(tmp_path, {"etc/dnsmasq.conf": f"{LAN}dhcp-mac=set:office,52:54:00:*:*:*\n{line}\n"})
    beside = fit_dnsmasq(tmp_path, SECOND, STORE)
    (network,) = beside.networks
    assert (network.interface, network.listens, network.pool) == ("eth1", True, False)


def test_each_network_is_looked_at(tmp_path: Path) -> None:
    """One of a dnsmasq's own, one on a card that it does not serve yet, and one behind a relay."""
    site = Site(
        server="10.98.0.1",
        networks=(
            SiteNetwork(subnet="10.98.0.0/24", interface="lan0"),
            SiteNetwork(subnet="10.99.0.0/24", interface="eth9", router="10.99.0.1"),
            SiteNetwork(subnet="10.20.0.0/16", router="10.20.0.1"),
        ),
    )
    write(tmp_path, {"etc/dnsmasq.conf": LAN})
    beside = fit_dnsmasq(tmp_path, site, STORE)
    assert [(one.interface, one.listens, one.pool) for one in beside.networks] == [
        ("lan0", True, True),
        ("eth9", False, False),
        ("lan0", True, False),
    ]
    write(tmp_path, {"etc/dnsmasq.conf": f"{LAN}dhcp-range=10.20.1.0,10.20.2.0\n"})
    given = SiteDhcp(first="10.20.1.0", last="10.20.9.0")
    relayed = dataclasses.replace(site.networks[2], dhcp=given)
    with pytest.raises(InputError, match=r"/etc/dnsmasq.conf:4: .* gives addresses of 10.20.0.0/16 already"):
        fit_dnsmasq(tmp_path, dataclasses.replace(site, networks=(*site.networks[:2], relayed)), STORE)
    write(tmp_path, {"etc/dhcp/dhcpd.conf": "subnet 10.20.0.0 netmask 255.255.0.0 { }\n"})
    with pytest.raises(InputError, match=r"dhcpd.conf:1: .*the clients' network 10.20.0.0/16 is declared there"):
        refuse_in_dhcpd(tmp_path, "/etc/dhcp/dhcpd.conf", site, STORE)


def test_one_dnsmasq_is_no_proxy_beside_its_own_pool(tmp_path: Path) -> None:
    networks = (
        SiteNetwork(subnet="10.98.0.0/24", interface="lan0"),
        SiteNetwork(subnet="10.99.0.0/24", interface="eth1", router="10.99.0.1"),
    )
    write(tmp_path, {"etc/dnsmasq.conf": LAN})
    site, memory = Site(server="10.98.0.1", networks=networks), read_memory(tmp_path)
    with pytest.raises(
        InputError, match=r"gives addresses of 10.98.0.0/24 itself, and is to be a proxy for those of 10.99"
    ):
        find_place(tmp_path, site, STORE, [Format.DNSMASQ_PROXY], memory, nfs4=False)


def test_a_card_is_named_only_where_cards_are_named(tmp_path: Path) -> None:
    for line, listens in (
        ("", True),
        ("interface=lan0", False),
        ("interface=eth*", True),
        ("listen-address=10.0.0.1", False),
    ):
        write(tmp_path, {"etc/dnsmasq.conf": line + "\n"})
        assert fit_dnsmasq(tmp_path, SECOND, STORE).networks[0].listens == listens
    write(tmp_path, {"etc/dnsmasq.conf": "interface=lan0\nbind-interfaces\n"})
    with pytest.raises(InputError, match=r"/etc/dnsmasq.conf:2: bind-interfaces: dnsmasq would not start") as caught:
        fit_dnsmasq(tmp_path, SECOND, STORE)
    assert "bind-dynamic" in (caught.value.hint or "")


def test_a_range_of_the_clients_network_is_used_and_not_doubled(tmp_path: Path) -> None:
    write(tmp_path, {"etc/dnsmasq.conf": "dhcp-range=10.98.0.50,10.98.0.150\ndhcp-option=3,10.98.0.254\n"})
    assert fit_dnsmasq(tmp_path, SAME, STORE).pool
    for site, message in (
        (Site(server="10.98.0.1", interface="lan0", router="10.98.0.9"), "dnsmasq.conf:2: dhcp-option=3,10.98.0.254: "),
        (Site(server="10.98.0.1", interface="lan0", nameservers=("10.0.0.1",)), "dnsmasq.conf:1: dhcp-range="),
    ):
        with pytest.raises(InputError, match=message):
            fit_dnsmasq(tmp_path, site, STORE)
    assert fit_dnsmasq(
        tmp_path, Site(server="10.98.0.1", interface="lan0", router="10.98.0.254", nameservers=("10.98.0.1",)), STORE
    ).pool


def test_limits_follow_all_that_dnsmasq_serves(tmp_path: Path) -> None:
    site = Site(
        server="10.1.0.1", subnet="10.1.0.0/16", interface="eth1", dhcp=SiteDhcp(first="10.1.8.0", last="10.1.15.255")
    )
    write(tmp_path, {"etc/dnsmasq.conf": "dhcp-range=10.98.0.50,10.98.0.149\ntftp-max=9\n"})
    beside = fit_dnsmasq(tmp_path, site, STORE)
    assert (beside.leases, beside.transfers) == (2148, None)


def test_no_card_is_guessed_where_dnsmasq_serves_others(tmp_path: Path) -> None:
    write(tmp_path, {"etc/dnsmasq.conf": "interface=lan0\n"})
    with pytest.raises(InputError, match=r"/etc/dnsmasq.conf:1: .* nothing says which card") as caught:
        fit_dnsmasq(tmp_path, Site(server="192.168.1.1"), STORE)
    assert caught.value.hint == "add interface: NAME to site.yml"


@pytest.mark.parametrize("files", [{"etc/default/dnsmasq": 'DNSMASQ_OPTS="--x\n'}, {"etc/dnsmasq.conf/x": "port=0\n"}])
def test_what_cannot_be_read_is_an_error_and_not_a_guess(files: dict[str, str], tmp_path: Path) -> None:
    write(tmp_path, files)
    with pytest.raises(HostError, match="dnsmasq"):
        read_dnsmasq(tmp_path)


def test_exports_are_read_as_exportfs_reads_them(tmp_path: Path) -> None:
    write(tmp_path, {
        "etc/exports": '# /no *(fsid=1)\n"/srv/a b" *(ro,fsid=7) \\\n  10.0.0.0/8(rw)\n'
                       "/srv/c\\040d -fsid=root,ro h1 h2 # x\n\n/e *\n",
        "etc/exports.d/z.exports": "/z *(fsid=0)\n", "etc/exports.d/.h.exports": "/h *\n", "etc/exports.d/y": "/y *\n",
    })  # fmt: skip
    assert [(one.directive.place, one.path, one.numbers) for one in read_exports(tmp_path)] == [
        ("/etc/exports:2", "/srv/a b", ("7",)),
        ("/etc/exports:4", "/srv/c d", ("0",)),
        ("/etc/exports:6", "/e", ()),
        ("/etc/exports.d/z.exports:1", "/z", ("0",)),
    ]


def test_numbers_that_somebody_has_are_not_taken_and_given_ones_never_change(tmp_path: Path) -> None:
    write(tmp_path, {"etc/exports": "/a *(fsid=3)\n/b *(fsid=5)\n"})
    fitted = fit_exports(tmp_path, STORE, exported=False, nfs4=True)
    assert [(share.path, share.fsid) for share in fitted.shares] == [("ro", 6), ("rw", 4)]
    with pytest.raises(InputError, match=r"/etc/exports:1: .*the fsid 3 is that of /disklessroot/ro"):
        fit_exports(tmp_path, STORE, exported=True, nfs4=True)
    old = ServedStore("/disklessroot", (Share("versions", 5, holds=False),))
    with pytest.raises(InputError, match=r"/etc/exports:2: .*the fsid 5"):
        fit_exports(tmp_path, old, exported=False, nfs4=True)


@pytest.mark.parametrize(
    ("text", "nfs4", "message"),
    [
        ("/disklessroot/ro *(ro)\n", False, "exports:1: .*exported already"),
        ("/disklessroot/ro/ *(ro)\n", False, "exports:1: .*exported already"),
        ("/srv 10.0.0.0/8(fsid=0,crossmnt)\n", True, "exports:1: .*NFSv4 clients see nothing but"),
        ("/srv -fsid=root *\n", True, "exports:1: .*NFSv4 clients see nothing but"),
        ("/srv *(fsid=0)\n", False, None),
        ("/ *(fsid=0)\n", True, None),
        ("/disklessroot *(ro,fsid=99)\n", True, None),
    ],
)
def test_exports_in_the_way_are_named(text: str, nfs4: bool, message: str | None, tmp_path: Path) -> None:
    write(tmp_path, {"etc/exports": text})
    if message is None:
        assert fit_exports(tmp_path, STORE, exported=False, nfs4=nfs4).shares == STORE.shares
        return
    with pytest.raises(InputError, match=message):
        fit_exports(tmp_path, STORE, exported=False, nfs4=nfs4)


MAIN = "/etc/dhcp/dhcpd.conf"


def test_dhcpd_is_read_with_its_includes(tmp_path: Path) -> None:
    write(tmp_path, {
        "etc/dhcp/dhcpd.conf": '# subnet 1.2.3.4 netmask 255.0.0.0 {}\noption domain-name "a;b{";\n'
                               'include "/etc/dhcp/more";\nshared-network x {\n subnet 10.0.0.0\n'
                               " netmask 255.0.0.0 { }\n}\n",
        "etc/dhcp/more": "host a { hardware ethernet aa:BB:cc:dd:ee:ff; }\n",
    })  # fmt: skip
    first, second, third = read_dhcpd(tmp_path, MAIN)
    assert first.words == ("option", "domain-name", "a;b{")
    assert (second.directive.place, second.words) == ("/etc/dhcp/more:1", ("host", "a"))
    assert second.inner[0].words == ("hardware", "ethernet", "aa:BB:cc:dd:ee:ff")
    assert (third.inner[0].directive.place, third.inner[0].words[1]) == ("/etc/dhcp/dhcpd.conf:5", "10.0.0.0")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "subnet 192.168.1.0 netmask 255.255.255.0 { range 192.168.1.5 192.168.1.9; }",
            r"dhcpd.conf:2: subnet 192.168.1.0",
        ),
        ("shared-network x { subnet 192.168.0.0 netmask 255.255.0.0 { } }", r"dhcpd.conf:2: subnet 192.168.0.0"),
        ("host x { hardware ethernet 52:54:00:00:00:01; }", "dhcpd.conf:2: host x: the card 52:54:00:00:00:01"),
        (
            "group { host x { fixed-address 10.0.0.9, 192.168.1.10; } }",
            "dhcpd.conf:2: host x: the address 192.168.1.10",
        ),
        ("option routers 10.98.0.1;", "dhcpd.conf:2: option routers 10.98.0.1: every subnet's clients"),
        ("subnet 10.98.0.0 netmask 255.255.255.0 { option routers 10.98.0.1; }", None),
        ("option domain-name-servers ns1.example.org, ns2.example.org;", None),
        ("host x { hardware ethernet 52:54:00:00:00:02; }", None),
    ],
)
def test_what_dhcpd_says_of_the_clients_is_named(text: str, message: str | None, tmp_path: Path) -> None:
    write(tmp_path, {"etc/dhcp/dhcpd.conf": f'include "/etc/dhcp/diskless.conf";\n{text}\n',
                     "etc/dhcp/diskless.conf": "subnet 192.168.1.0 netmask 255.255.255.0 { }\n"})  # fmt: skip
    if message is None:
        refuse_in_dhcpd(tmp_path, MAIN, SECOND, STORE)
        return
    with pytest.raises(InputError, match=message):
        refuse_in_dhcpd(tmp_path, MAIN, SECOND, STORE)


def test_the_port_of_mountd_that_a_server_has_stays(tmp_path: Path) -> None:
    assert other_mountd_port(tmp_path) is None
    write(tmp_path, {"etc/nfs.conf": "[mountd]\n# port=1\nport=20048\n[lockd]\nport=2\n"})
    assert other_mountd_port(tmp_path) is None
    write(tmp_path, {"etc/nfs.conf.d/site.conf": "[ mountd ]\nPort = 4002\n"})
    found = other_mountd_port(tmp_path)
    assert found is not None
    assert (found.place, found.value) == ("/etc/nfs.conf.d/site.conf:2", "4002")


def test_what_a_package_brought_is_known_by_its_lists(tmp_path: Path) -> None:
    assert not is_stock(tmp_path, "/etc/kea/kea-dhcp4.conf", b"{}")
    digest = "99914b932bd37a50b983c5e7c90ae93b"
    write(tmp_path, {"var/lib/dpkg/status": f"Package: kea\nConffiles:\n /etc/kea/kea-dhcp4.conf {digest}\n"})
    assert is_stock(tmp_path, "/etc/kea/kea-dhcp4.conf", b"{}")
    assert not is_stock(tmp_path, "/etc/kea/kea-dhcp4.conf", b"{ }")
    write(tmp_path, {"var/lib/pacman/local/x-1/files": f"%BACKUP%\netc/ganesha/ganesha.conf\t{digest}\n"})
    assert is_stock(tmp_path, "/etc/ganesha/ganesha.conf", b"{}")
    stock = b'TFTP_USERNAME="tftp"\nTFTP_DIRECTORY="/srv/tftp"\nTFTP_ADDRESS=":69"\nTFTP_OPTIONS="--secure"\n'
    assert is_stock(tmp_path, "/etc/default/tftpd-hpa", stock)
    write(tmp_path, {"srv/tftp/phone.cfg": ""})
    assert not is_stock(tmp_path, "/etc/default/tftpd-hpa", stock)
