"""What `server-config --install` says of files that a server's own configuration does not read."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.store.records.record import Record, write_record
from tests.command import run_command
from tests.server_trees import ARCH, DEBIAN, make_server

SITE = "server: 192.168.1.1\ninterface: eth1\ndhcp: {first: 192.168.1.100, last: 192.168.1.199}\nhttp_port: 80\n"
DNSMASQ_LINE = "conf-dir=/etc/dnsmasq.d,*.conf"
NOTES = {
    "dnsmasq": f"/etc/dnsmasq.conf does not read /etc/dnsmasq.d: add the line  {DNSMASQ_LINE}",
    "dhcpd": '/etc/dhcpd.conf must have the line:  include "/etc/dhcp/diskless.conf";',
    "firewall": '/etc/nftables.conf must have the line:  include "/etc/nftables.d/diskless.nft"',
    "nginx": "/etc/nginx/nginx.conf must have the line, in its http block:  include /etc/nginx/conf.d/*.conf;",
    "tftpd": "Arch Linux's own unit must not serve besides:  systemctl disable --now tftpd.service tftpd.socket",
    "exports": None,
}
Install = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def install(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Install:
    """Installs one format on a server with the given files in /etc."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store/site.yml").write_text(SITE, "utf-8")
    (tmp_path / "store/versions").mkdir()
    write_record(tmp_path / "store", Record({"ro": 3}))

    def install(form: str, files: dict[str, str], **options: Any) -> list[dict[str, Any]]:
        root = tmp_path / "root"
        make_server(root, files, **options)
        arguments = ("--to", str(tmp_path / "store"), "--format", form, "--install", "--prefix", str(root), "--json")
        status, output, message = run_command(capsys, "server-config", *arguments)
        assert status == 0, message
        result: list[dict[str, Any]] = json.loads(output)
        return result

    return install


@pytest.mark.parametrize(("form", "note"), NOTES.items())
def test_an_arch_server_lacks_a_line(form: str, note: str | None, install: Install) -> None:
    installed = install(form, ARCH)
    assert {file["note"] for file in installed} == {note}
    # it is said until it is true
    assert {(file["changed"], file["note"]) for file in install(form, ARCH)} == {(False, note)}


@pytest.mark.parametrize("form", ["dnsmasq", "exports", "nginx", "tftpd", "xinetd"])
def test_debians_configuration_reads_them(form: str, install: Install) -> None:
    assert {file["note"] for file in install(form, DEBIAN)} == {None}


def test_dhcpd_of_arch(install: Install) -> None:
    (file,) = install("dhcpd", ARCH)
    assert file["restart"] == "systemctl restart dhcpd4"


def test_dhcpd_of_debian(install: Install) -> None:
    (file,) = install("dhcpd", DEBIAN)
    assert file["note"] == '/etc/dhcp/dhcpd.conf must have the line:  include "/etc/dhcp/diskless.conf";'
    assert file["restart"] == "systemctl restart isc-dhcp-server"


READ = {
    "dnsmasq": [
        {"dnsmasq.conf": f"{DNSMASQ_LINE}\n"},
        {"dnsmasq.conf": "conf-dir=/etc/dnsmasq.d\n"},
        {"dnsmasq.conf": "conf-dir = /etc/dnsmasq.d/, *.conf\n"},
        {"dnsmasq.conf": "conf-dir=/etc/dnsmasq.d/,.bak,.old # all\n"},
        {"dnsmasq.conf": "conf-file=/etc/dnsmasq.d/diskless.conf\n"},
        {"dnsmasq.conf": "conf-file=/etc/more.conf\n", "more.conf": "conf-dir=/etc/dnsmasq.d\n"},
    ],
    "dhcpd": [{"dhcpd.conf": 'authoritative;\ninclude  "/etc/dhcp/diskless.conf" ;\n'}],
    "firewall": [
        {"nftables.conf": 'include "/etc/nftables.d/diskless.nft"\n'},
        {"nftables.conf": 'include "/etc/nftables.d/*.nft"\n'},
    ],
    "nginx": [
        {"nginx/nginx.conf": "http {\n  include conf.d/*.conf;\n}\n"},
        {"nginx/nginx.conf": "http { include /etc/nginx/conf.d/*; }\n"},
        {"nginx/nginx.conf": 'http {\n  include "/etc/nginx/conf.d/diskless.conf";\n}\n'},
    ],
}
UNREAD = {
    "dnsmasq": [
        {"dnsmasq.conf": f"#{DNSMASQ_LINE}\n"},
        {"dnsmasq.conf": "conf-dir=/etc/dnsmasq.d,.conf\n"},
        {"dnsmasq.conf": "conf-dir=/etc/dnsmasq.d,*.dnsmasq\n"},
        {"dnsmasq.conf": "conf-dir=/etc/dnsmasq\n"},
        {"default/dnsmasq": "#CONFIG_DIR=/etc/dnsmasq.d\n"},
    ],
    "dhcpd": [{"dhcpd.conf": '# include "/etc/dhcp/diskless.conf";\n'}],
    "firewall": [{"nftables.conf": 'include "/etc/nftables/*.nft"\n'}],
    "nginx": [
        {"nginx/nginx.conf": "http {\n  # include /etc/nginx/conf.d/*.conf;\n  include mime.types;\n}\n"},
        {"nginx/nginx.conf": "http {\n  include /etc/nginx/sites-enabled/*;\n}\n"},
    ],
    "xinetd": [{"xinetd.conf": "# includedir /etc/xinetd.d\n"}],
}


@pytest.mark.parametrize(("form", "files"), [(form, files) for form in READ for files in READ[form]])
def test_a_line_that_is_there_is_seen(form: str, files: dict[str, str], install: Install) -> None:
    assert {file["note"] for file in install(form, {**ARCH, **files})} == {None}


@pytest.mark.parametrize(("form", "files"), [(form, files) for form in UNREAD for files in UNREAD[form]])
def test_a_line_that_does_not_do_is_not_taken_for_it(form: str, files: dict[str, str], install: Install) -> None:
    assert {file["note"] is None for file in install(form, {**ARCH, **files})} == {False}


@pytest.mark.parametrize("form", ["dnsmasq", "dhcpd", "tftpd", "exports", "firewall", "nginx", "xinetd", "ganesha"])
def test_a_program_that_is_not_there_is_named(form: str, install: Install) -> None:
    (note,) = {file["note"] for file in install(form, ARCH, programs=())}
    assert " is not installed: Debian: apt-get install " in note
    assert "no repository has" in note if form in ("xinetd", "ganesha") else "Arch Linux: pacman -S " in note


def test_servers_that_are_not_root_can_read_them(install: Install, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        install("dhcpd", ARCH)
    finally:
        os.umask(before)
    assert (tmp_path / "root/etc/dhcp").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "root/etc/dhcp/diskless.conf").stat().st_mode & 0o777 == 0o644
