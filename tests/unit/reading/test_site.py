"""Sites: every fault is named with its place; what is accepted cannot break a file that is generated from it."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from builder.errors import InputError
from builder.model.site import Site, lease_seconds
from builder.reading import load_site
from builder.render.server.files import possible_formats, server_files
from tests.command import run_command
from tests.golden_files import TESTS, check_golden
from tests.shares import served
from tests.unit.reading.test_reading import mutate, scramble

BAD = TESTS / "sites" / "bad"
_OF_ONE_NETWORK = ("subnet", "interface", "dhcp", "router", "nameservers", "http_port")
WHOLE: dict[str, Any] = {
    "schema": "1",
    "server": "192.168.1.1",
    "subnet": "192.168.1.0/24",
    "interface": "eth1",
    "dhcp": {"first": "192.168.1.100", "last": "192.168.1.199", "lease": "12h"},
    "router": "192.168.1.254",
    "nameservers": ["192.168.1.254", "192.168.1.2"],
    "path": "/disklessroot",
    "nfs_options": ["rsize=16384", "wsize=16384"],
    "http_port": "8080",
    "default": "debian-nfs",
    "menu_seconds": "5",
    "cmdline": ["quiet"],
    "clients": [
        {"mac": "52:54:00:00:00:01", "name": "lab1", "address": "192.168.1.10"},
        {"mac": "52:54:00:00:00:0B", "address": "192.168.1.11", "image": "debian-nfs", "version": "20261101-0123abcd"},
        {"mac": "52:54:00:00:00:03", "name": "lab3.example.org"},
        {"mac": "52:54:00:00:00:04", "image": "arch-nfs"},
    ],
}

NETWORKS: dict[str, Any] = {
    **{name: value for name, value in WHOLE.items() if name not in _OF_ONE_NETWORK},
    "networks": [
        {"subnet": "192.168.1.0/24", "interface": "eth1", "dhcp": WHOLE["dhcp"], "nameservers": ["192.168.1.2"]},
        {
            "subnet": "10.20.0.0/16",
            "router": "10.20.0.1",
            "dhcp": {"first": "10.20.1.0", "last": "10.20.9.255", "lease": "1h"},
            "options": [
                {"code": "42", "type": "ipv4-address", "values": ["10.20.0.4", "10.20.0.5"]},
                {"code": "15", "type": "string", "values": ["example.org"]},
                {"code": "224", "type": "binary", "values": ["c0:a8"]},
            ],
        },
    ],
    "http": {"address": "192.168.1.6", "port": "8080"},
    "unknown": "refuse",
    "local_disk": "true",
    "entries": [{"name": "tool", "title": "Tool (old)", "kernel": "extra/tool.bin", "initrd": "extra/tool.img"}],
    "groups": [
        {"name": "lab", "mac_prefixes": ["08:00:27"], "image": "debian-nfs", "version": "20261101-0123abcd"},
        {"name": "kiosk", "entry": "tool", "nfs_options": ["rsize=16384"]},
    ],
    "clients": [*WHOLE["clients"], {"mac": "52:54:00:00:00:05", "group": "kiosk", "address": "10.20.0.10"}],
}
SITES = pytest.mark.parametrize("whole", [WHOLE, NETWORKS], ids=["one network", "networks"])


def load_text(directory: Path, text: str) -> Site:
    path = directory / "site.yml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return load_site(path)


def load(directory: Path, **changes: Any) -> Site:
    return load_text(directory, yaml.safe_dump({**WHOLE, **changes}))


@pytest.mark.parametrize("site", sorted(BAD.glob("*.yml")), ids=lambda path: path.stem)
def test_a_bad_site_is_refused_with_its_message(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(BAD)
    status, output, message = run_command(capsys, "server-config", "--to", "/disklessroot", "--site", site.name)
    assert (status, output) == (2, "")
    assert message.startswith(f"error: {site.name}:")
    check_golden(site.with_suffix(".txt"), message)


def test_every_bad_site_has_a_message_and_every_message_a_site() -> None:
    assert {path.stem for path in BAD.glob("*.yml")} == {path.stem for path in BAD.glob("*.txt")}
    assert len(list(BAD.glob("*.yml"))) > 60


def test_one_line_is_a_site(tmp_path: Path) -> None:
    site = load_text(tmp_path, "server: 10.1.2.3\n")
    assert str(site.network) == "10.1.2.0/24"
    assert (site.dhcp, site.clients, site.http_port, site.known) == (None, (), None, ())


def test_a_site_keeps_what_was_written(tmp_path: Path) -> None:
    site = load(tmp_path, subnet="192.168.0.0/16")
    assert str(site.network) == "192.168.0.0/16"
    assert site.dhcp is not None
    assert (site.dhcp.first, site.dhcp.lease, site.http_port, site.menu_seconds) == ("192.168.1.100", "12h", 8080, 5)
    assert [client.name for client in site.clients] == ["lab1", None, "lab3.example.org", None]
    assert [client.address for client in site.known] == ["192.168.1.10", "192.168.1.11"]


@pytest.mark.parametrize(
    ("lease", "seconds"), [("infinite", None), ("600", 600), ("90s", 90), ("2m", 120), ("12h", 43200), ("7d", 604800)]
)
def test_lease_times(lease: str, seconds: int | None) -> None:
    assert lease_seconds(lease) == seconds


def test_a_site_that_is_not_there_names_the_one_beside_it(tmp_path: Path) -> None:
    (tmp_path / "site.yml").write_text("server: 192.168.1.1\n", "utf-8")
    with pytest.raises(InputError, match=r"sites\.yml: no such site file") as caught:
        load_site(tmp_path / "sites.yml")
    assert caught.value.hint == f"did you mean {tmp_path / 'site.yml'}?"


# what would end a line, a quotation, a block or a word of some generated file
BREAKERS = (
    "\n",
    "\r",
    "\0",
    "\t",
    " ",
    '"',
    "'",
    "\\",
    ";",
    "{",
    "}",
    "#",
    "$",
    "`",
    "%",
    ",",
    "*",
    "(",
    "\u2028",
    "\x85",
)


@SITES
@pytest.mark.parametrize("breaker", BREAKERS, ids=ascii)
def test_no_value_can_break_out_of_a_generated_file(breaker: str, whole: dict[str, Any], tmp_path: Path) -> None:
    """Every value of a site, with the breaker at its start, in its middle and at its end, is refused.

    Only kernel arguments and titles, which no server's file holds, are freer.
    """
    site = {name: value for name, value in whole.items() if name != "cmdline"}
    site["entries"] = [
        {name: value for name, value in entry.items() if name != "title"} for entry in whole.get("entries", [])
    ]
    for breaks in (
        lambda value: breaker + value,
        lambda value: value[:3] + breaker + value[3:],
        lambda value: value + breaker,
    ):
        text = json.dumps(_changed(site, breaks))
        with pytest.raises(InputError) as caught:
            load_text(tmp_path, text)
        places = set(re.findall(r"site\.yml:1:(\d+): ", caught.value.message))
        assert len(places) == json.dumps(_changed(site, lambda value: "\1")).count("\\u0001")


def _changed(data: Any, change: Callable[[str], str]) -> Any:
    """A copy of data with every text in it changed."""
    if isinstance(data, str):
        return change(data)
    if isinstance(data, dict):
        return {name: _changed(value, change) for name, value in data.items()}
    return [_changed(value, change) for value in data]


def check_rendered(site: Site) -> None:
    """Every text has the lines of the whole site's, more or fewer of them, and no control characters."""
    for form in possible_formats(site, served("/disklessroot")):
        for file in server_files(form, site, served("/disklessroot")):
            assert re.findall(r"[^\n\x20-\x7e]", file.text) == [], form
            for line in file.text.splitlines():
                assert LINES.fullmatch(line), (form, line)


# the only shapes that lines of generated files have
LINES = re.compile(
    r"(#.*)?"
    r"|(enable-tftp|tftp-root|pxe-service"
    r"|dhcp-(range|option|boot|option-force|match|userclass))=[\w.,:/@+!\"-]+|dhcp-option-force=210,http://[\d.:]+/"
    r"|tag-if=set:[\w-]+(,tag:!?[\w-]+)+|dhcp-mac=set:[\w-]+,[\da-f*:]{12,17}"
    r"|dhcp-host=(tag:[\w.-]+,\*(:\*){5},id:\*|(tag:[\w.-]+,)?[\da-fA-F:]{17}(,id:\*,set:diskless)?(,[\w.-]+){0,2})"
    r"|enable-tftp|dhcp-ignore-clid|(tftp-max|dhcp-lease-max)=\d+"
    r"|option diskless-arch code 93 = unsigned integer 16;|option space diskless;"
    r"|option diskless[.-][a-z-]*\d* code \d+ = (string|text);|group \{| *option diskless[.-][a-z-]*\d+ [\da-f:]+;"
    r"| *(#.*|subnet [\d.]+ netmask [\d.]+ \{|\}|allow (booting|bootp|unknown-clients);"
    r"|ignore-client-uids true;|range [\d.]+ [\d.]+;"
    r"|(default|max)-lease-time \d+;|option routers [\d.]+;|option domain-name-servers [\d., ]+;"
    r"|next-server [\d.]+;|filename \"[\w./:-]+\";|site-option-space \"diskless\";"
    r"|option diskless\.magic f1:00:74:7e;|option diskless\.path-prefix \"(/|http://[\d.:]+/)\";"
    r"|if exists dhcp-parameter-request-list \{|(els)?if option diskless-arch = 00:[\da-f]{2} \{|else \{"
    r"|(els)?if exists user-class and option user-class = \"iPXE\" \{"
    r"|(els)?if (exists user-class and option user-class = \"iPXE\" and )?[()]+substring[a-z\d :=(),]+ \{"
    r"|option diskless\.config-file \"pxelinux\.cfg/group-[\w-]+\";"
    r"|option vendor-class-identifier \"HTTPClient\";"
    r"|option dhcp-parameter-request-list = concat\(option dhcp-parameter-request-list(, d[012])+\);"
    r"|hardware ethernet [\da-fA-F:]{17};|fixed-address [\d.]+;|option host-name \"[\w.-]+\";)"
    r"|host diskless-[\da-f]{12} \{"
    # Kea's JSON: a value of plain characters, or one of our tests of options
    r"|\{|[ {\[\]},]+| *\"[\w-]+\": ([\[{]+|\[\],?|\"[\w ,./:*-]*\",?|\d+,?|true,?|false,?)"
    r"| *\"[\w*,. -]+\"| *\"test\": \"[\w\[\].(), ='-]+\",?"
    # PowerShell: words, and texts between apostrophes
    r"|\$scope = @\{ScopeId = '[\d.]+'\}"
    r"|(Add|Set)-DhcpServerv4\w+( -\w+| @scope| \d+| \w+,?| EQ,'[\w*-]+'| '[\w ./:-]+')+( `)?"
    r"|    -Value '[\w./:-]+'"
    r"|TFTP_[A-Z]+=\"[\w./:-]+\"|\[[A-Za-z]+\]|[A-Z][A-Za-z]+=[\w ./:()-]+|service tftp|\{"
    r"|    [a-z_]+ +=( [\w./-]+)+"
    r"|(/disklessroot/r[ow]|   ) [\d.]+/\d+\(r[ow],sync,fsid=[34],no_root_squash,no_subtree_check,mountpoint\)( \\)?"
    r"|/disklessroot/r[ow] \\"
    r"|port=20048|[A-Za-z_0-9]+ \{| *[A-Za-z_0-9]+ = [\w ,./\"-]+;| *[A-Z]+ \{"
    r"|table inet filter \{|    chain (input|diskless) \{|        type filter hook input priority filter;"
    r"|        ct state established,related accept"
    r"|        (ip saddr ([\d.]+/\d+|\{ [\d./, ]+ \}) )?(tcp|udp) dport \{ [\d, ]+ \} accept|insert "
    r"rule inet filter input jump diskless"
    r"|server \{|    listen [\d.]+:\d+;|    root /disklessroot/boot;|    allow [\d.]+/\d+;|    deny all;"
    r"|systemctl [a-z -]+|exportfs -ra",
)


@SITES
def test_the_whole_site_has_only_lines_of_these_shapes(whole: dict[str, Any], tmp_path: Path) -> None:
    check_rendered(load_text(tmp_path, yaml.safe_dump(whole)))
    assert not LINES.fullmatch("dhcp-script=/bin/sh")
    assert not LINES.fullmatch("/disklessroot *(rw)")


@SITES
@pytest.mark.parametrize("seed", range(4))
def test_changed_sites_are_refused_or_rendered(seed: int, whole: dict[str, Any], tmp_path: Path) -> None:
    random_ = random.Random(seed)
    accepted = 0
    for _ in range(100):
        changed: Any = whole
        for _ in range(random_.randint(1, 2)):
            changed = mutate(changed, random_)
        try:
            site = load_text(tmp_path, json.dumps(changed, ensure_ascii=random_.random() < 0.5))
        except InputError as error:
            assert str(tmp_path) in error.message
            continue
        accepted += 1
        check_rendered(site)
    assert 0 < accepted < 100


@SITES
@pytest.mark.parametrize("seed", range(4))
def test_scrambled_sites_are_refused_or_rendered(seed: int, whole: dict[str, Any], tmp_path: Path) -> None:
    random_ = random.Random(seed)
    text = yaml.safe_dump(whole, sort_keys=False)
    for _ in range(100):
        try:
            site = load_text(tmp_path, scramble(text, random_))
        except InputError as error:
            assert str(tmp_path) in error.message
            continue
        check_rendered(site)
