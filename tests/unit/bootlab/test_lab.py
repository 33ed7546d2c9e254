"""The lab is a site: its servers get the texts of `diskless server-config`, and nothing besides that is not listed."""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

import pytest

from builder.bootlab.dhcp import dnsmasq_options
from builder.bootlab.lab import lab_site, lab_view
from builder.bootlab.nfs import SERVERS, Ganesha, NfsServer
from builder.bootlab.settings import (
    ACCOUNTS,
    DNSMASQ_OPTIONS,
    DNSMASQ_USER,
    FIRMWARE_OPTIONS,
    GANESHA_CORE,
    GANESHA_OPTIONS,
    GANESHA_USER,
    LAB_SITE,
    MOUNTD_USER,
    NFSD_GRACE_SECONDS,
    NFSD_THREADS,
    QEMU_USER,
    RPCBIND_STARTER,
    RPCBIND_UID,
    WEB_STARTER,
    WEB_UID,
)
from builder.bootlab.walls.view import View
from builder.checks.site import site_contradictions
from builder.render.server.files import Format, possible_formats, server_files, store_exports
from tests.images import ROOT
from tests.shares import served

STORE = served("/srv/store")
every_server = pytest.mark.parametrize("server", [server() for server in SERVERS], ids=lambda one: type(one).__name__)


@every_server
def test_the_labs_site_could_be_a_site_file(server: NfsServer) -> None:
    site = lab_site(server)
    assert site_contradictions(site) == []
    (form,) = {file.format for file in server.files(site, STORE)}
    assert {Format.DNSMASQ, Format.NGINX, form} <= set(possible_formats(site, STORE))


@every_server
def test_an_nfs_server_gets_what_server_config_writes_and_what_is_listed(server: NfsServer) -> None:
    site = lab_site(server)
    for file in server.files(site, STORE):
        (real,) = (one for one in server_files(file.format, site, STORE) if one.path == file.path)
        given, written = (Counter(map(str.strip, text.splitlines())) for text in (file.text, real.text))
        assert written - given == Counter()
        listed = [f"{name} = {value};" for name, value in GANESHA_CORE.items()] if isinstance(server, Ganesha) else []
        assert list((given - written).elements()) == listed


@every_server
def test_clients_find_the_store_where_the_menus_name_it(server: NfsServer) -> None:
    paths = [export.path for export in store_exports(lab_site(server), STORE)]
    root = "/disklessroot" if isinstance(server, Ganesha) else STORE.path
    assert paths == [f"{root}/ro", f"{root}/rw"]


def test_every_option_names_its_place() -> None:
    options = dnsmasq_options(LAB_SITE)
    assert not [option for option in options if "{" in option]
    assert {"--leasefile-ro", "--ra-param=lab0,10,0"} <= set(options)


def test_the_page_lists_who_a_labs_processes_are() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    table = page[page.index("| process | user | capabilities |") :].partition("\n\n")[0]
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()[2:]]
    begins = "none; it begins as root with"
    expected = [
        (str(DNSMASQ_USER.uid), ", ".join(DNSMASQ_USER.capabilities)),
        (str(WEB_UID), f"{begins} {', '.join(WEB_STARTER.capabilities)}"),
        (str(QEMU_USER.uid), "none"),
        (str(RPCBIND_UID), f"{begins} {', '.join(RPCBIND_STARTER.capabilities)}"),
        ("root", ", ".join(GANESHA_USER.capabilities)),
        ("root", ", ".join(MOUNTD_USER.capabilities)),
    ]
    assert QEMU_USER.capabilities == ()
    assert [tuple(row[1:]) for row in rows] == expected


def test_no_two_processes_share_a_user() -> None:
    users = [DNSMASQ_USER.uid, WEB_UID, QEMU_USER.uid, RPCBIND_UID]
    assert len(set(users)) == len(users)
    # neither a distribution's, nor what systemd gives to services
    assert all(65519 < user < 65534 for user in users)
    assert DNSMASQ_USER.prefix == (
        *("setpriv", "--reuid=65521", "--regid=65521", "--clear-groups"),
        "--bounding-set=-all,+net_admin,+net_bind_service,+net_raw",
        "--inh-caps=-all,+net_admin,+net_bind_service,+net_raw",
        "--ambient-caps=-all,+net_admin,+net_bind_service,+net_raw",
        *("--no-new-privs", "--"),
    )
    assert {"--bounding-set=-all,+dac_read_search", "--ambient-caps=-all"} <= set(MOUNTD_USER.prefix)


def test_the_page_lists_what_a_lab_adds() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?:dnsmasq|nfs-ganesha)? ?\| (.*?) \|", page, re.M)
    switches = re.findall(r"-\w(?: [^- ]\S*)?", " ".join(GANESHA_OPTIONS))
    added = [*DNSMASQ_OPTIONS, *FIRMWARE_OPTIONS, *switches, *GANESHA_CORE]
    assert sorted(name for row in rows for name in re.findall(r"`(.*?)`", row)) == sorted(added)
    assert f"{NFSD_THREADS} threads, {NFSD_GRACE_SECONDS} s of grace" in page


def test_a_python_of_its_own_is_shown_for_the_web_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "base_prefix", "/root/python")
    monkeypatch.setattr(sys, "base_exec_prefix", "/usr")
    assert View().plan()["programs"] == ["/root/python"]


@every_server
def test_a_lab_shows_what_it_serves_and_the_files_of_its_servers(server: NfsServer) -> None:
    plan = lab_view(server, lab_site(server), STORE, (Path("/srv/mine"),)).plan()
    exports = [(f"{STORE.path}/ro", False), (f"{STORE.path}/rw", True)]
    assert [tuple(one) for one in plan["served"]] == [(f"{STORE.path}/boot", False), *exports]
    assert plan["shared"] == ["/srv/mine"]
    for file in (*server.files(lab_site(server), STORE), *server_files(Format.DNSMASQ, lab_site(server), STORE)):
        assert plan["files"][str(file.path)] == file.text
    accounts = [line.split(":")[0] for line in plan["files"]["/etc/passwd"].splitlines()]
    assert accounts == list(ACCOUNTS)
