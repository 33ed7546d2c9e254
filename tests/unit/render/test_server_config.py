"""The server's configuration: texts that a person has read, and files that replace nothing without keeping it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.model.generation import Generation
from builder.model.share import Share
from builder.model.site import (
    DhcpOptionType,
    Site,
    SiteClient,
    SiteDhcp,
    SiteDhcpOption,
    SiteGroup,
    SiteHttp,
    SiteNetwork,
    SiteNfs,
    Unknown,
)
from builder.render.server.files import Format, possible_formats, server_files, store_exports
from builder.store.records.record import Record, write_record
from tests.command import run_command
from tests.golden_files import GOLDEN, check_golden
from tests.shares import served

STORE = served("/disklessroot")
SMALLEST = Site(server="192.168.1.1")
FULL = Site(
    server="192.168.1.1",
    subnet="192.168.0.0/22",
    interface="eth1",
    dhcp=SiteDhcp(first="192.168.2.1", last="192.168.2.250", lease="infinite"),
    router="192.168.3.254",
    nameservers=("192.168.3.254", "192.168.0.2"),
    http_port=8080,
    clients=(
        SiteClient(mac="52:54:00:00:00:01", name="lab1", address="192.168.1.10"),
        SiteClient(mac="52:54:00:00:00:0B", address="192.168.1.11"),
        SiteClient(mac="52:54:00:00:00:03", name="lab3"),
        SiteClient(mac="52:54:00:00:00:04", image="debian-nfs"),
    ),
)
KNOWN_ONLY = Site(server="192.168.1.1", clients=FULL.clients[:1], http_port=80, path="/srv/roots")
NETWORKS = Site(
    server="192.168.1.1",
    networks=(
        SiteNetwork(
            subnet="192.168.1.0/24",
            interface="eth1",
            dhcp=SiteDhcp(first="192.168.1.100", last="192.168.1.199"),
            nameservers=("192.168.1.1",),
        ),
        SiteNetwork(
            subnet="10.20.0.0/16",
            dhcp=SiteDhcp(first="10.20.1.0", last="10.20.9.255", lease="1h"),
            router="10.20.0.1",
            nameservers=("10.20.0.2", "10.20.0.3"),
            options=(
                SiteDhcpOption(code=42, type=DhcpOptionType.IPV4_ADDRESS, values=("10.20.0.4", "10.20.0.5")),
                SiteDhcpOption(code=15, type=DhcpOptionType.STRING, values=("cafe.example.org",)),
                SiteDhcpOption(code=26, type=DhcpOptionType.UINT16, values=("1400",)),
                SiteDhcpOption(code=2, type=DhcpOptionType.BINARY, values=("00:00:0e:10",)),
                SiteDhcpOption(code=224, type=DhcpOptionType.STRING, values=("10.20.0.6",)),
                SiteDhcpOption(code=225, type=DhcpOptionType.STRING, values=("7",)),
            ),
        ),
        SiteNetwork(
            subnet="10.30.0.0/24",
            interface="eth2",
            dhcp=SiteDhcp(first="10.30.0.100", last="10.30.0.199"),
            router="10.30.0.1",
        ),
        SiteNetwork(subnet="10.40.0.0/24", interface="eth2", router="10.40.0.1"),
    ),
    http_port=8080,
    clients=(
        SiteClient(mac="52:54:00:00:00:01", name="lab1", address="192.168.1.10"),
        SiteClient(mac="52:54:00:00:00:02", name="hall1", address="10.20.0.10"),
        SiteClient(mac="52:54:00:00:00:03", name="lab3"),
        SiteClient(mac="52:54:00:00:00:04", address="10.40.0.10"),
    ),
)
GROUPS = Site(
    server="192.168.1.1",
    interface="eth1",
    dhcp=SiteDhcp(first="192.168.1.100", last="192.168.1.199"),
    nfs=SiteNfs(address="192.168.1.5", path="/volume1/roots"),
    http=SiteHttp(address="192.168.1.6"),
    unknown=Unknown.REFUSE,
    groups=(
        SiteGroup(name="lab", mac_prefixes=("52:54:00", "08:00:27:0A"), image="debian-nfs", cmdline=("quiet",)),
        SiteGroup(name="kiosk", entry="local-disk"),
    ),
    clients=(
        SiteClient(mac="52:54:00:00:00:01", name="lab1", address="192.168.1.10"),
        SiteClient(mac="52:54:01:00:00:02", group="kiosk"),
    ),
)
SITES = {"smallest": SMALLEST, "full": FULL, "known-only": KNOWN_ONLY, "networks": NETWORKS, "groups": GROUPS}
SITE = "server: 192.168.1.1\ninterface: eth1\ndhcp: {first: 192.168.1.100, last: 192.168.1.199}\n"
Run = Callable[..., tuple[int, str, str]]


def texts(site: Site) -> dict[str, str]:
    return {
        f"{form}-{number}" if number else str(form): file.text
        for form in possible_formats(site, STORE)
        for number, file in enumerate(server_files(form, site, STORE))
    }


@pytest.mark.parametrize("name", SITES)
def test_texts(name: str) -> None:
    rendered = texts(SITES[name])
    for form, text in rendered.items():
        check_golden(GOLDEN / "server" / name / f"{form}.txt", text)
    assert {path.stem for path in (GOLDEN / "server" / name).iterdir()} == set(rendered)


@pytest.mark.parametrize("name", SITES)
def test_every_text_says_where_it_belongs_and_what_for(name: str) -> None:
    for form in possible_formats(SITES[name], STORE):
        for file in server_files(form, SITES[name], STORE):
            first = file.text.splitlines()[0]
            assert first.startswith(f"# {file.path} - " if file.path else "# "), form
            assert file.path is None or "without disks" in first or "mountd" in first
            assert file.text.endswith("\n")
            # conditions that list cards are as long as they are
            assert max(len(line) for line in file.text.splitlines() if "substring(" not in line) <= 120


@pytest.mark.parametrize("name", [name for name in SITES if name != "groups"])
def test_pxelinux_is_never_told_one_configuration_file(name: str) -> None:
    # option 209: no client's own file would be asked for
    for text in texts(SITES[name]).values():
        lines = [line for line in text.splitlines() if not line.strip().startswith("#")]
        assert not [line for line in lines if "209" in line or "configfile" in line or "d1" in line.split()]


@pytest.mark.parametrize("name", SITES)
def test_only_the_subnets_are_let_in(name: str) -> None:
    site, rendered = SITES[name], texts(SITES[name])
    for form in ("exports", "ganesha", "firewall", "nginx"):
        lines = [line for line in rendered.get(form, "").splitlines() if not line.strip().startswith("#")]
        assert not [line for line in lines if "*" in line]
        if lines:
            for network in site.client_networks:
                assert [line for line in lines if str(network.network) in line], (form, network)


@pytest.mark.parametrize("form", [Format.DNSMASQ, Format.DHCPD])
def test_the_root_is_left_to_the_menus(form: Format) -> None:
    (file,) = server_files(form, FULL, STORE)
    lines = [line.strip() for line in file.text.splitlines() if "root-path" in line]
    assert lines
    assert all(line.startswith("#") for line in lines)


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """`diskless server-config` for a store with a site file, installing below a root directory of its own."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store/site.yml").write_text(SITE, "utf-8")
    write_record(tmp_path / "store", Record({"ro": 3}))
    (tmp_path / "store/versions").mkdir()
    (tmp_path / "root").mkdir()

    def run(*arguments: str) -> tuple[int, str, str]:
        changes = {"--install", "--uninstall", "--dry-run"} & set(arguments)
        prefix = ("--prefix", str(tmp_path / "root")) if changes else ()
        return run_command(capsys, "server-config", "--to", str(tmp_path / "store"), *arguments, *prefix)

    return run


def test_what_one_server_needs_is_printed(run: Run) -> None:
    status, output, message = run()
    assert (status, message) == (0, "")
    assert "# /etc/dnsmasq.d/diskless.conf - " in output
    assert "# /etc/exports.d/diskless.exports - " in output
    assert "dhcpd" not in output
    assert "xinetd" not in output


def test_the_site_of_the_store_is_printed_whole(run: Run, tmp_path: Path) -> None:
    status, output, message = run("--format", "all")
    assert (status, message) == (0, "")
    for path in ("/etc/dnsmasq.d/diskless.conf", "/etc/dhcp/diskless.conf", "/etc/exports.d/diskless.exports"):
        assert f"# {path} - " in output
    assert f"tftp-root={tmp_path}/store/boot" in output
    exports = run("--format", "exports")[1]
    assert exports in output
    assert "dnsmasq" not in exports


@pytest.mark.parametrize(
    ("groups", "client", "clients"),
    [
        ((), {"image": "lab"}, ("192.168.1.10",)),
        (({"name": "hall", "image": "lab"},), {"group": "hall"}, ("192.168.1.10",)),
        # anybody's card may begin so
        (({"name": "hall", "image": "lab", "mac_prefixes": ("08:00:27",)},), {"group": "hall"}, ("192.168.1.0/24",)),
    ],
)
def test_what_an_image_alone_has_is_for_who_boots_it(
    groups: tuple[dict[str, Any], ...], client: dict[str, Any], clients: tuple[str, ...]
) -> None:
    known = SiteClient(mac="52:54:00:00:00:01", address="192.168.1.10", **client)
    site = Site(server="192.168.1.1", groups=tuple(SiteGroup(**one) for one in groups), clients=(known,))
    (export,) = store_exports(site, served("/disklessroot", (Share("rw/lab", 5),)))
    assert export.clients == clients


PREFIXES = "groups: [{name: lab, mac_prefixes: ['08:00:27'], image: debian-nfs}]\n"


@pytest.mark.parametrize(
    ("site", "arguments", "refused"),
    [
        (SITE, ("--format", "dnsmasq"), None),
        (SITE, ("--format", "windows"), "windows"),
        ("server: 192.168.1.1\n", (), "dnsmasq-proxy"),
        ("server: 192.168.1.1\n", ("--format", "router"), None),
        ("server: 192.168.1.1\nloaders: [grub]\n", (), None),
    ],
)
def test_groups_by_cards_need_who_can_tell(
    site: str, arguments: tuple[str, ...], refused: str | None, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "store/site.yml").write_text(site + PREFIXES, "utf-8")
    status, _, error = run(*arguments)
    if refused is None:
        assert (status, error) == (0, "")
        return
    assert status == 2
    assert f"format {refused}: it cannot tell clients of lab by how their MAC addresses begin" in error
    assert "the formats dnsmasq, dhcpd, kea and router can, and GRUB itself" in error


@pytest.mark.parametrize(
    ("key", "form", "message"),
    [
        ("nfs: {address: 192.168.1.5}", "exports", "the site names an NFS server of its own"),
        ("nfs: {address: 192.168.1.5}", "ganesha", "the site names an NFS server of its own"),
        ("http: {address: 192.168.1.5}", "nginx", "the site's web server is another machine"),
    ],
)
def test_what_another_machine_serves_is_not_written_here(
    key: str, form: str, message: str, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "store/site.yml").write_text(f"{SITE}{key}\n", "utf-8")
    status, _, error = run("--format", form)
    assert (status, message in error) == (2, True)
    status, output, _ = run()
    assert status == 0
    assert "/etc/dnsmasq.d/" in output
    assert "/etc/exports.d" not in output or key.startswith("http")
    assert "nginx" not in output
    # this machine serves what it is named for
    (tmp_path / "store/site.yml").write_text(f"{SITE}nfs: {{address: 192.168.1.1}}\nhttp: {{port: 8080}}\n", "utf-8")
    assert run("--format", form)[0] == 0


def test_the_texts_as_json(run: Run) -> None:
    files = json.loads(run("--format", "dhcpd", "--json")[1])
    assert [file["path"] for file in files] == ["/etc/dhcp/diskless.conf"]
    assert "next-server 192.168.1.1;" in files[0]["text"]


def test_without_a_site_file_the_address_is_enough(run: Run, tmp_path: Path) -> None:
    (tmp_path / "store/site.yml").unlink()
    status, output, _ = run("--server", "10.1.2.3")
    assert status == 0
    assert "dhcp-range=set:diskless,10.1.2.0,proxy,255.255.255.0" in output
    assert "10.1.2.0/24(ro," in output
    status, output, message = run()
    assert (status, output) == (2, "")
    assert "nothing says it" in message
    assert f"write `server: ADDRESS` into {tmp_path}/store/site.yml" in message


def test_what_the_last_deploy_knew_is_enough(run: Run, tmp_path: Path) -> None:
    (tmp_path / "store/site.yml").unlink()
    generation = Generation(1, "10.1.2.3", "lab", {"lab": "20260101-01234567"}, 0, "deploy")
    directory = tmp_path / "store/boot/generations/000001"
    directory.mkdir(parents=True)
    (directory / "generation.json").write_text(generation.to_json(), "utf-8")
    (tmp_path / "store/boot/current").symlink_to("generations/000001")
    assert "10.1.2.0/24(ro," in run("--format", "exports")[1]


def test_an_address_that_is_given_counts_more_than_the_written_one(run: Run) -> None:
    assert "pxelinux.0,,192.168.1.2" in run("--server", "192.168.1.2", "--format", "dnsmasq-proxy")[1]
    status, _, message = run("--server", "10.1.2.3")
    assert status == 2
    assert "server 10.1.2.3: 192.168.1.100 is not in the clients' network 10.1.2.0/24" in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "nginx"), "format nginx: the site has no http_port"),
        (("--format", "all", "--install"), "--format all has every kind of DHCP, TFTP and NFS server"),
        (("--format", "router", "--install"), "nothing to install"),
        (("--format", "dnsmasq", "--format", "dhcpd", "--install"), "dnsmasq and dhcpd both serve DHCP"),
        (("--format", "dnsmasq", "--format", "tftpd", "--install"), "dnsmasq and tftpd both serve TFTP"),
        (("--format", "exports", "--format", "ganesha", "--install"), "exports and ganesha both serve NFS"),
        (("--site", "nowhere.yml"), "nowhere.yml: no such site file"),
    ],
)
def test_what_cannot_be_is_refused(arguments: tuple[str, ...], message: str, run: Run, tmp_path: Path) -> None:
    status, output, error = run(*arguments)
    assert (status, output) == (2, "")
    assert message in error
    assert "hint: " in error
    assert list((tmp_path / "root").iterdir()) == []


@pytest.mark.parametrize("server", ["127.0.0.1", "192.168.1.0", "boot.example.org", "10.0.0.1/24"])
def test_an_address_that_no_client_reaches_is_refused(server: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "store/site.yml").unlink()
    status, output, message = run("--server", server)
    assert (status, output) == (2, "")
    assert re.match(rf"error: (--)?server {server}: ", message)


def test_a_site_without_addresses_needs_another_dhcp_server(run: Run, tmp_path: Path) -> None:
    (tmp_path / "store/site.yml").write_text("server: 192.168.1.1\n", "utf-8")
    for form in ("dnsmasq", "dhcpd"):
        status, _, message = run("--format", form)
        assert status == 2
        assert f"format {form}: the site gives clients no addresses" in message
    assert run("--install")[0] == 0
    assert "proxy" in (tmp_path / "root/etc/dnsmasq.d/diskless.conf").read_text("utf-8")


def test_the_kernels_server_cannot_show_the_store_under_another_name(run: Run, tmp_path: Path) -> None:
    (tmp_path / "store/site.yml").write_text(SITE + "path: /roots\n", "utf-8")
    assert "kernel's server exports real paths only" in run("--format", "exports")[2]
    assert 'Pseudo = "/roots/ro";' in run("--format", "ganesha")[1]
    run("--install")
    assert not (tmp_path / "root/etc/exports.d").exists()
    assert (tmp_path / "root/etc/ganesha/ganesha.conf").exists()


@pytest.mark.parametrize("name", ["two words", "a#b", 'a"b', "a'b", "a\\b", "a;b", "$HOME", "%h", "a\nb", "größe"])
def test_a_store_whose_name_no_text_can_quote_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, output, message = run_command(
        capsys, "server-config", "--to", str(tmp_path / name), "--server", "192.168.1.1"
    )
    assert (status, output) == (2, "")
    assert "is not a plain absolute path" in message


def installed(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text("utf-8") for path in root.rglob("*") if path.is_file()}


def test_install_writes_drop_ins_and_says_what_to_restart(run: Run, tmp_path: Path) -> None:
    status, output, _ = run("--install")
    assert status == 0
    files = installed(tmp_path / "root")
    assert set(files) == {
        "etc/dnsmasq.d/diskless.conf",
        "etc/exports.d/diskless.exports",
        "etc/nfs.conf.d/diskless.conf",
    }
    assert files["etc/dnsmasq.d/diskless.conf"] == run("--format", "dnsmasq")[1]
    commands = output.splitlines()[-3:]
    assert commands == ["  systemctl restart nfs-server", "  exportfs -ra", "  systemctl restart dnsmasq"]
    assert all((tmp_path / "root" / name).stat().st_mode & 0o777 == 0o644 for name in files)


def test_installing_again_changes_nothing(run: Run, tmp_path: Path) -> None:
    run("--install")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "root").rglob("*")}
    output = run("--install")[1]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "root").rglob("*")} == before
    assert "restart" not in output
    assert output.count("was so already") == 3


def test_what_was_there_is_kept_and_no_backup_is_overwritten(run: Run, tmp_path: Path) -> None:
    exports = tmp_path / "root/etc/exports.d/diskless.exports"
    exports.parent.mkdir(parents=True)
    exports.write_text("/first *(ro)\n", "utf-8")
    exports.chmod(0o600)
    status, _, message = run("--install", "--format", "exports")
    assert (status, exports.read_text("utf-8")) == (2, "/first *(ro)\n")
    assert "is somebody else's, or of an earlier release" in message
    assert "-/first *(ro)" in message
    assert "what was there: " in run("--install", "--format", "exports", "--replace")[1]
    backup = exports.with_name(".diskless.exports.diskless-backup")
    assert (backup.read_text("utf-8"), backup.stat().st_mode & 0o777) == ("/first *(ro)\n", 0o600)
    for text in ("/second *(ro)\n", "/first *(ro)\n"):
        exports.write_text(text, "utf-8")
        assert run("--install", "--format", "exports", "--replace")[0] == 0
    assert backup.read_text("utf-8") == "/first *(ro)\n"
    assert exports.with_name(f"{backup.name}-2").read_text("utf-8") == "/second *(ro)\n"
    assert len(list(exports.parent.iterdir())) == 3


def test_backups_are_not_read_by_programs_that_read_a_directory(run: Run, tmp_path: Path) -> None:
    # dnsmasq(8), --conf-dir: every file but those that begin with a dot
    config = tmp_path / "root/etc/dnsmasq.d/diskless.conf"
    config.parent.mkdir(parents=True)
    config.write_text("port=53\n", "utf-8")
    run("--install", "--replace")
    assert sorted(path.name for path in config.parent.iterdir()) == [
        ".diskless.conf.diskless-backup",
        "diskless.conf",
    ]


@pytest.mark.parametrize(
    ("first", "second"), [("dnsmasq", "dhcpd"), ("dhcpd", "dnsmasq"), ("exports", "ganesha"), ("dnsmasq", "xinetd")]
)
def test_a_second_server_of_the_same_kind_is_not_installed(first: str, second: str, run: Run, tmp_path: Path) -> None:
    assert run("--install", "--format", first)[0] == 0
    before = installed(tmp_path / "root")
    status, _, message = run("--install", "--format", second)
    assert status == 2
    assert f"{second} and the installed /etc/" in message
    assert installed(tmp_path / "root") == before


def test_dnsmasq_takes_the_place_of_its_proxy(run: Run, tmp_path: Path) -> None:
    assert run("--install", "--format", "dnsmasq-proxy")[0] == 0
    assert run("--install", "--format", "dnsmasq")[0] == 0
    assert "proxy" not in (tmp_path / "root/etc/dnsmasq.d/diskless.conf").read_text("utf-8")


def test_in_tftpd_is_configured_as_the_distribution_does(run: Run, tmp_path: Path) -> None:
    assert run("--install", "--format", "tftpd")[0] == 0
    assert set(installed(tmp_path / "root")) == {"etc/systemd/system/diskless-tftpd.service"}
    defaults = tmp_path / "root/etc/default/tftpd-hpa"
    defaults.parent.mkdir(parents=True)
    defaults.write_text('# /etc/default/tftpd-hpa\n\nTFTP_USERNAME="tftp"\n', "utf-8")
    assert "systemctl restart tftpd-hpa" in run("--install", "--format", "tftpd")[1]
    assert f'TFTP_DIRECTORY="{tmp_path}/store/boot"' in defaults.read_text("utf-8")
    assert (defaults.parent / "tftpd-hpa.diskless-backup").exists()


def test_a_file_of_others_is_no_reason_to_refuse(run: Run, tmp_path: Path) -> None:
    for name in ("dnsmasq.d/diskless.conf", "default/tftpd-hpa"):
        path = tmp_path / "root/etc" / name
        path.parent.mkdir(parents=True)
        path.write_text("# mine\n", "utf-8")
    assert run("--install", "--format", "dhcpd", "--format", "xinetd")[0] == 0


def test_what_was_installed_as_json(run: Run, tmp_path: Path) -> None:
    result: list[dict[str, Any]] = json.loads(
        run("--install", "--format", "dhcpd", "--format", "firewall", "--json")[1]
    )
    assert [file["path"] for file in result] == [
        f"{tmp_path}/root/etc/dhcp/diskless.conf",
        f"{tmp_path}/root/etc/nftables.d/diskless.nft",
    ]
    assert [(file["changed"], file["backup"]) for file in result] == [(True, None)] * 2
    assert [file["restart"] for file in result] == ["systemctl restart isc-dhcp-server", "systemctl reload nftables"]
    assert result[0]["note"].startswith("dhcpd is not installed: Debian: apt-get install isc-dhcp-server; Arch Linux: ")
    again = json.loads(run("--install", "--format", "dhcpd", "--format", "firewall", "--json")[1])
    assert [(file["changed"], file["restart"]) for file in again] == [(False, None)] * 2


def test_a_directory_in_the_way_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "root/etc/exports.d/diskless.exports").mkdir(parents=True)
    status, _, message = run("--install", "--format", "exports")
    assert status == 3
    assert "diskless.exports: Is a directory" in message


def test_every_format_is_rendered_for_some_site() -> None:
    assert {form for site in SITES.values() for form in possible_formats(site, STORE)} == set(Format)
