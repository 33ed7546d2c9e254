"""What is generated, compared with texts that a person has read: image files, boot menu, servers."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from builder.bootlab.settings import GANESHA_CORE
from builder.distributions.apt import archive_urls, repository_line, security_urls
from builder.errors import InputError
from builder.generators.table import generator_of
from builder.inits.table import init_of
from builder.loaders.pxelinux import Pxelinux
from builder.model.menu import Menu, MenuEntry
from builder.model.recipe import (
    DebianDistribution,
    DebianRepository,
    DistributionName,
    File,
    Filesystem,
    Network,
    NetworkClient,
    Resolver,
    RootMode,
    Signatures,
    System,
)
from builder.model.site import Site, SiteClient, SiteDhcp
from builder.reading import load_recipe
from builder.render.boot.cmdline import bundle_menu, kernel_cmdline
from builder.render.image.entries import image_cmdline, image_entries
from builder.render.image.fstab import fstab
from builder.render.image.network import network_arguments, network_entries
from builder.render.image.system import system_entries
from builder.render.server.dnsmasq import dnsmasq_config
from builder.render.server.services import Export, exports, ganesha_config
from tests.command import run_command
from tests.golden_files import GOLDEN, check_golden
from tests.images import ROOT, write_recipe
from tests.samples import MANIFEST
from tests.shares import served

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDah5vxWpLY64+CQh5jUQ5xnc5WSNklYenijjkkllyfT admin"
SUITE = {"name": "debian", "suite": "bookworm"}
RECIPES: dict[str, dict[str, Any]] = {
    "dhcpcd-inform": {},
    "none-with-nameservers": {
        "network": {"client": "none", "nameservers": ["192.168.1.1", "2001:db8::1"], "search": ["lab.example.org"]},
        "system": {"hostname": "lab.example.org", "timezone": "Europe/Berlin", "locale": "de_DE.UTF-8"},
        "packages": ["linux-image-amd64", "tzdata", "locales"],
    },
    "systemd-networkd": {
        "network": {"client": "systemd-networkd"},
        "packages": ["linux-image-amd64", "systemd-resolved"],
        "initramfs": {"drivers": "list", "modules": ["e1000", "virtio_net"], "compression": "zstd"},
        "files": [{"path": "/etc/motd", "text": "Diskless.\n", "mode": "0600", "owner": "5:10"}],
    },
    "network-manager-and-a-snapshot": {
        "network": {"client": "NetworkManager", "interface": "eth0"},
        "packages": ["linux-image-amd64", "network-manager"],
        "distribution": {**SUITE, "snapshot": "2026-11-01"},
        "system": {
            "users": [
                {"name": "root", "ssh_keys": [KEY]},
                {"name": "alice", "password_hash": "$6$salt$" + "x" * 86, "groups": ["audio", "video"]},
            ]
        },
    },
    "ifupdown": {"network": {"client": "ifupdown"}, "packages": ["linux-image-amd64", "ifupdown"]},
}
SITE = Site(
    server="192.168.1.1", interface="eth1", dhcp=SiteDhcp(first="192.168.1.100", last="192.168.1.199", lease="12h")
)
FULL_SITE = dataclasses.replace(
    SITE,
    router="192.168.1.254",
    nameservers=("192.168.1.1", "192.168.1.2"),
    clients=(
        SiteClient(mac="52:54:00:00:00:01", address="192.168.1.10"),
        SiteClient(mac="52:54:00:00:00:02", address="192.168.1.11", name="second"),
    ),
    http_port=80,
)
STORE = served("/disklessroot")
EXPORTS = (
    Export("/disklessroot/ro", "/disklessroot/ro", ("192.168.1.0/24",), 3, writable=False),
    Export("/srv/two words/rw", "/disklessroot/rw", ("192.168.1.0/24",), 4, writable=True),
    Export("/disklessroot/versions", "/disklessroot/versions", ("192.168.1.0/24",), 1, writable=False, holds=False),
)


@pytest.mark.parametrize("name", RECIPES)
def test_every_file_of_an_image(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_recipe(tmp_path, **{"distribution": SUITE, **RECIPES[name]})
    status, output, errors = run_command(capsys, "check", "--show", str(recipe))
    assert status == 0
    assert errors == "" or f"warning: client: {load_recipe(recipe).recipe.network.client}: nothing renews" in errors
    check_golden(GOLDEN / "show" / f"{name}.txt", output)
    for entry in image_entries(load_recipe(recipe).recipe, {}):
        assert f"==> {entry.path} " in output


def test_the_recipe_of_the_project_is_the_first_variant() -> None:
    """But for the suite, which is this host's."""
    recipe = load_recipe(ROOT / "recipes/debian-nfs.yml").recipe
    shown = (GOLDEN / "show/dhcpcd-inform.txt").read_text(encoding="utf-8")
    for entry in image_entries(recipe, {}):
        if entry.path != "/etc/apt/sources.list":
            assert getattr(entry, "content", b"").decode() in shown


def test_fstab_is_the_how_tos() -> None:
    recipe = load_recipe(ROOT / "recipes/debian-nfs.yml").recipe
    lines = [line for line in fstab(recipe.filesystems).splitlines() if not line.startswith("#")]
    assert lines == ["none / none", "none\t/dev/pts\tdevpts\tgid=5,mode=620\t0\t0"]


@pytest.mark.parametrize(
    ("filesystem", "line"),
    [
        (Filesystem(source="none", target="/", type="none"), "none / none\n"),
        (Filesystem(source="tmpfs", target="/srv", type="tmpfs"), "tmpfs\t/srv\ttmpfs\tdefaults\t0\t0\n"),
        (Filesystem(source="tmpfs", target="/srv", type="tmpfs", options=()), "tmpfs\t/srv\ttmpfs\tdefaults\t0\t0\n"),
        (
            Filesystem(source="a:/b", target="/c", type="nfs", options=("ro", "nolock")),
            "a:/b\t/c\tnfs\tro,nolock\t0\t0\n",
        ),
        (Filesystem(source="none", target="/", type="none", options=("rw",)), "none\t/\tnone\trw\t0\t0\n"),
    ],
)
def test_lines_of_fstab(filesystem: Filesystem, line: str) -> None:
    assert fstab([filesystem]).splitlines(keepends=True)[1:] == [line]


def test_own_files_come_last_and_win(tmp_path: Path) -> None:
    files = [{"path": "/etc/hosts", "text": "127.0.0.1 localhost\n"}]
    recipe = load_recipe(write_recipe(tmp_path, distribution=SUITE, files=files)).recipe
    written = [entry for entry in image_entries(recipe, {}) if entry.path == "/etc/hosts"]
    assert [getattr(entry, "content", None) for entry in written][-1] == b"127.0.0.1 localhost\n"
    assert image_entries(recipe, {})[-1] is not written[0]


def test_own_files_have_the_mode_and_owner_of_the_recipe(tmp_path: Path) -> None:
    files = [{"path": "/usr/local/bin/x", "source": "x", "mode": "4755", "owner": "33:44"}]
    (tmp_path / "x").write_bytes(b"\x7fELF")
    loaded = load_recipe(write_recipe(tmp_path, distribution=SUITE, files=files))
    last = image_entries(loaded.recipe, loaded.sources)[-1]
    assert vars(last) == {"path": "/usr/local/bin/x", "content": b"\x7fELF", "mode": 0o4755, "uid": 33, "gid": 44}


@pytest.mark.parametrize(
    ("network", "services", "arguments"),
    [
        (Network(client=NetworkClient.DHCPCD, interface="eth0"), ["dhcpcd.service"], ["net.ifnames=0"]),
        (Network(client=NetworkClient.DHCPCD, interface="enp1s0"), ["dhcpcd.service"], []),
        (Network(client=NetworkClient.NETWORKD), ["systemd-networkd.service"], []),
        (Network(client=NetworkClient.NETWORKMANAGER), ["NetworkManager.service"], []),
        (Network(client=NetworkClient.IFUPDOWN, interface="eth0"), ["networking.service"], ["net.ifnames=0"]),
        (Network(client=NetworkClient.NONE, nameservers=("192.168.1.1",)), [], []),
    ],
)
def test_services_and_arguments_of_a_network(
    network: Network, services: list[str], arguments: list[str], tmp_path: Path
) -> None:
    recipe = load_recipe(write_recipe(tmp_path, distribution=SUITE, system={"services": []})).recipe
    recipe = dataclasses.replace(recipe, network=network)
    assert init_of(recipe).enabled(recipe) == services
    assert network_arguments(network) == arguments


@pytest.mark.parametrize("client", NetworkClient)
def test_no_client_may_take_the_address_away(client: NetworkClient) -> None:
    network = Network(client=client, interface="eth0", nameservers=("192.168.1.1",))
    contents = {entry.path: getattr(entry, "content", b"").decode() for entry in network_entries(network)}
    text = "".join(contents.values())
    assert ("persistent" in text.splitlines()) is (client is NetworkClient.DHCPCD)
    assert ("KeepConfiguration=yes" in text.splitlines()) is (client is NetworkClient.NETWORKD)
    assert ("nohook resolv.conf" in text.splitlines()) is (client is NetworkClient.DHCPCD)
    assert ("UseDNS=no" in text.splitlines()) is (client is NetworkClient.NETWORKD)
    is_manager = client is NetworkClient.NETWORKMANAGER
    for line in ("dns=none", "no-auto-default=*", "unmanaged-devices=interface-name:eth0"):
        assert (line in text.splitlines()) is is_manager
    assert ("iface eth0 inet manual" in text.splitlines()) is (client is NetworkClient.IFUPDOWN)


def test_services_and_arguments_are_named_once(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "system": {"services": ["dhcpcd.service", "ssh"]},
        "boot": {"cmdline": ["net.ifnames=0", "ip=dhcp"]},
    }
    recipe = load_recipe(write_recipe(tmp_path, distribution=SUITE, **changes)).recipe
    assert init_of(recipe).enabled(recipe) == ["dhcpcd.service", "ssh"]
    assert image_cmdline(recipe) == ("net.ifnames=0", "ip=dhcp")


def test_locales_have_their_character_set() -> None:
    def written(locale: str) -> bytes | None:
        entries = system_entries(System(locale=locale))
        return next((getattr(entry, "content", None) for entry in entries if entry.path == "/etc/locale.gen"), None)

    assert written("C.UTF-8") is None
    assert written("de_DE.UTF-8") == b"de_DE.UTF-8 UTF-8\n"


def test_boot_configurations() -> None:
    cmdline = kernel_cmdline(MANIFEST, "10.0.0.1:/r")
    new = MenuEntry("lab", "Lab", "lab/1/vmlinuz", "lab/1/initramfs.img", cmdline)
    old = MenuEntry("old", "Lab, before", "lab/0/vmlinuz", "lab/0/initramfs.img", "root=/dev/nfs rw")
    check_golden(GOLDEN / "pxe" / "bundle.txt", Pxelinux().render(bundle_menu(MANIFEST)))
    check_golden(GOLDEN / "pxe" / "one-entry.txt", Pxelinux().render(Menu((new,), "lab")))
    check_golden(GOLDEN / "pxe" / "menu.txt", Pxelinux().render(Menu((new, old), "lab", seconds=5)))


def test_the_bundle_takes_its_root_from_dhcp_and_names_no_version() -> None:
    assert generator_of(MANIFEST).root_arguments(MANIFEST.root, None) == ["root=/dev/nfs", "nfsroot=auto"]
    assert MANIFEST.version not in Pxelinux().render(bundle_menu(MANIFEST))


def test_a_root_is_mounted_with_the_options_of_the_recipe() -> None:
    nfsroot = "nfsroot=10.0.0.1:/r,vers=3,rsize=16384,wsize=16384"
    assert generator_of(MANIFEST).root_arguments(MANIFEST.root, "10.0.0.1:/r") == ["root=/dev/nfs", nfsroot]


@pytest.mark.parametrize(("mode", "word"), [(RootMode.RW, "rw"), (RootMode.OVERLAY, "ro")])
def test_the_mode_of_the_root_is_on_the_command_line_once(mode: RootMode, word: str) -> None:
    root = dataclasses.replace(MANIFEST.root, mode=mode)
    for cmdline in (("ip=dhcp",), ("ip=dhcp", word)):
        manifest = dataclasses.replace(MANIFEST, root=root, cmdline=cmdline)
        words = kernel_cmdline(manifest, None).split()
        assert words.count(word) == 1
        assert len({"rw", "ro"} & set(words)) == 1


def test_the_longest_command_line_of_a_recipe_fits(tmp_path: Path) -> None:
    words = [f"driver.parameter{number:02}={'x' * 55}" for number in range(20)]
    recipe = load_recipe(write_recipe(tmp_path, distribution=SUITE, boot={"cmdline": words})).recipe
    manifest = dataclasses.replace(MANIFEST, cmdline=image_cmdline(recipe))
    location = "192.168.100.100:/disklessroot/writable/" + "i" * 63 + "/20260101-01234567/root"
    assert len(kernel_cmdline(manifest, location).encode()) < Pxelinux().cmdline_bytes
    with pytest.raises(InputError, match="1500 bytes"):
        load_recipe(write_recipe(tmp_path, distribution=SUITE, boot={"cmdline": [*words, "y" * 60]}))


def settings(text: str) -> list[str]:
    """The lines that a program reads."""
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize(("name", "site"), [("smallest", SITE), ("full", FULL_SITE)])
def test_dnsmasq(name: str, site: Site) -> None:
    text = dnsmasq_config(site, STORE)
    check_golden(GOLDEN / "server" / f"dnsmasq-{name}.conf", text)
    lines = settings(text)
    assert not [line for line in lines if "209" in line]
    assert "tftp-secure" not in text
    # what dnsmasq has once for all is somebody else's
    assert {line.partition("=")[0] for line in lines}.isdisjoint(
        {"port", "interface", "except-interface", "listen-address", "bind-interfaces", "bind-dynamic"}
    )
    for line in lines:
        if line.startswith(("dhcp-option", "dhcp-boot", "pxe-service")):
            assert "=tag:diskless," in line
    assert f"tftp-root=/disklessroot/boot,{site.interface}" in lines


def test_exports() -> None:
    check_golden(GOLDEN / "server" / "exports", exports(EXPORTS, STORE))
    assert exports((), STORE) == ""


def test_ganesha() -> None:
    check_golden(GOLDEN / "server" / "ganesha.conf", ganesha_config(EXPORTS, STORE))


def test_the_labs_ganesha_does_without_a_capability_that_containers_lack() -> None:
    core = ganesha_config(EXPORTS, STORE, GANESHA_CORE).split("NFS_CORE_PARAM {")[1].split("}")[0]
    assert "Allow_Set_Io_Flusher_Fail = true;" in core
    assert "Enable_RQUOTA = false;" in core


def test_exports_are_never_for_everybody_and_their_fsids_are_fixed() -> None:
    for text in (exports(EXPORTS, STORE), ganesha_config(EXPORTS, STORE)):
        assert "*" not in "".join(settings(text))
        assert text.count("192.168.1.0/24") == len(EXPORTS)
    for export, line in zip(EXPORTS, settings(exports(EXPORTS, STORE)), strict=True):
        assert f"fsid={export.fsid}," in line


def test_a_file_needs_no_source_when_it_has_text(tmp_path: Path) -> None:
    own = File(path="/etc/motd", text="")
    recipe = load_recipe(write_recipe(tmp_path, distribution=SUITE)).recipe
    entry = image_entries(dataclasses.replace(recipe, files=(own,)), {})[-1]
    assert (entry.path, getattr(entry, "content", None)) == ("/etc/motd", b"")


@pytest.mark.parametrize(
    ("network", "policy", "line"),
    [
        (Network(client=NetworkClient.DHCPCD), Resolver.DHCP, None),
        (Network(client=NetworkClient.DHCPCD, resolver=Resolver.KERNEL), Resolver.KERNEL, "nohook resolv.conf"),
        (Network(client=NetworkClient.DHCPCD, resolver=Resolver.RESOLVED), Resolver.RESOLVED, None),
        (Network(client=NetworkClient.NETWORKD), Resolver.RESOLVED, "UseDNS=yes"),
        (Network(client=NetworkClient.NETWORKD, resolver=Resolver.KERNEL), Resolver.KERNEL, "UseDNS=no"),
        (Network(client=NetworkClient.NETWORKMANAGER), Resolver.KERNEL, "unmanaged-devices=type:ethernet"),
        (Network(client=NetworkClient.NETWORKMANAGER), Resolver.KERNEL, "dns=none"),
        (Network(client=NetworkClient.IFUPDOWN), Resolver.KERNEL, "auto lo"),
        (Network(client=NetworkClient.NONE, nameservers=("192.168.1.1",)), Resolver.FIXED, None),
    ],
)
def test_who_fills_resolv_conf(network: Network, policy: Resolver, line: str | None) -> None:
    assert network.resolver_policy is policy
    lines = "".join(getattr(entry, "content", b"").decode() for entry in network_entries(network)).splitlines()
    assert line is None or line in lines
    assert ("nohook resolv.conf" in lines) is (line == "nohook resolv.conf")


def test_further_repositories_trust_their_own_key_only() -> None:
    repository = DebianRepository(url="https://a.example.org/debian", suite="stable", components=("main", "extra"))
    line = "deb [signed-by=/keys/a.gpg] https://a.example.org/debian stable main extra\n"
    assert repository_line(repository, repository.url, "/keys/a.gpg") == line
    flat = DebianRepository(url="file:///srv", suite="./", components=(), signatures=Signatures.NEVER)
    assert repository_line(flat, "copy:///srv", None) == "deb [trusted=yes] copy:///srv ./\n"


def test_mirrors_of_a_snapshot_are_servers_of_its_layout() -> None:
    day = DebianDistribution(name=DistributionName.DEBIAN, suite="bookworm", snapshot="2026-11-01")
    assert archive_urls(day) == ("http://snapshot.debian.org/archive/debian/20261101T000000Z/",)
    assert security_urls(day) == ("http://snapshot.debian.org/archive/debian-security/20261101T000000Z/",)
    own = dataclasses.replace(day, mirrors=("http://a.example.org/debian/",), security_mirrors=())
    assert archive_urls(own) == ("http://a.example.org/debian/20261101T000000Z/",)
    assert security_urls(own) == ()
    assert archive_urls(dataclasses.replace(own, snapshot=None)) == ("http://a.example.org/debian/",)
