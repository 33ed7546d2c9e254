"""Boot loaders: each keeps the contract, and whatever asks for one asks the table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest

from builder.loaders.base import BootFile, ClientArchitecture, Loader
from builder.loaders.pxelinux import Pxelinux
from builder.loaders.table import BOOT_FILES, LOADERS, loader_of, menu_files, packages
from builder.model.menu import Menu, MenuEntry
from builder.model.recipe import DistributionName, LoaderName
from builder.model.site import Site, SiteDhcp
from builder.render.server.dhcpd import dhcpd_config
from builder.render.server.proxy import proxy_config
from builder.render.server.services import dnsmasq_config

NEW = MenuEntry("lab/2", "Lab", "lab/2/vmlinuz", "lab/2/initramfs.img", "root=/dev/nfs nfsroot=10.0.0.1:/r ip=dhcp rw")
OLD = dataclasses.replace(NEW, label="lab/1", title="Lab, before", kernel="lab/1/vmlinuz", bootif=True)
MENU = Menu((NEW, OLD), "lab/2", seconds=5, listed=("lab/2", "lab/1"), note="of a test")
MAC = "52:54:00:AB:cd:01"
SITE = Site(server="10.0.0.1", interface="eth0", dhcp=SiteDhcp(first="10.0.0.50", last="10.0.0.99"))

every_loader = pytest.mark.parametrize("loader", LOADERS.values(), ids=[name.value for name in LOADERS])


def test_every_name_of_a_recipe_has_a_loader() -> None:
    assert {name: loader.name for name, loader in LOADERS.items()} == {name: name for name in LoaderName}


@every_loader
def test_what_a_loader_writes_it_reads(loader: Loader) -> None:
    assert loader.parse(loader.render(MENU)) == MENU.entries


@every_loader
def test_what_a_loader_cannot_read_is_passed_over(loader: Loader) -> None:
    assert loader.parse("") == ()
    assert loader.parse("\0 \n\n# nothing\nLABEL\n") is not None


@every_loader
def test_a_client_has_a_menu_of_its_own(loader: Loader) -> None:
    files = menu_files([MENU, dataclasses.replace(MENU, client=MAC)], [loader])
    assert len(files) == 2
    assert {loader_of(path) for path in files} == {loader}
    assert len({loader.menu_file(mac) for mac in (None, MAC, MAC.lower())}) == 2


@every_loader
def test_its_files_come_from_packages(loader: Loader) -> None:
    assert loader.packages
    for distribution in loader.packages:
        brought = {file for files in packages([loader.name], distribution).values() for file in files}
        assert brought == set(loader.files)
    assert {name for file in loader.boot_files.values() for name in (file.tftp, file.http)} <= set(loader.files)


def test_loaders_share_no_name_in_the_tftp_root() -> None:
    names = [name for loader in LOADERS.values() for name in (loader.directory, *loader.files)]
    assert len(names) == len(set(names))


def test_pxelinux_asks_for_the_hardware_type_and_the_address() -> None:
    assert Pxelinux().menu_file(MAC) == "01-52-54-00-ab-cd-01"
    assert Pxelinux().packages[DistributionName.ARCH]["syslinux"]["ldlinux.c32"] == "usr/lib/syslinux/bios/ldlinux.c32"


@pytest.mark.parametrize("keyword", ["KERNEL", "kernel", "LINUX"])
def test_pxelinux_reads_what_people_write(keyword: str) -> None:
    text = f"default x\nlabel x\n\t{keyword}\ta/vmlinuz\n  initrd a/initramfs.img\nappend root=/dev/nfs quiet\n"
    assert Pxelinux().parse(text) == (MenuEntry("x", "x", "a/vmlinuz", "a/initramfs.img", "root=/dev/nfs quiet"),)


@pytest.fixture
def efi(monkeypatch: pytest.MonkeyPatch) -> Mapping[ClientArchitecture, BootFile]:
    """A table with a loader for another architecture."""
    monkeypatch.setitem(BOOT_FILES, ClientArchitecture.X64_UEFI, BootFile("x/boot.efi", "x/boot.efi"))
    return BOOT_FILES


def test_dhcp_names_the_loader_of_each_architecture(efi: object) -> None:
    text = dnsmasq_config(SITE, "/srv/boot")
    assert "dhcp-match=set:diskless-7,option:client-arch,7\ndhcp-boot=tag:diskless-7,x/boot.efi\n" in text
    assert text.index("tag:diskless-7") < text.index("dhcp-boot=pxelinux.0\n")
    assert 'pxe-service=X86-64_EFI,"diskless",x/boot.efi' in proxy_config(SITE, "/srv/boot")
    dhcpd = dhcpd_config(SITE)
    assert "option arch code 93 = unsigned integer 16;" in dhcpd
    assert 'if option arch = 00:07 {\n        filename "x/boot.efi";\n    }\n    else {' in dhcpd
