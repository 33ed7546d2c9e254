"""Boot loaders: each keeps the contract, and whatever asks for one asks the table."""

from __future__ import annotations

import dataclasses
import shlex
import subprocess
from pathlib import Path

import pytest

from builder.loaders.base import ClientArchitecture, Loader
from builder.loaders.grub import Grub
from builder.loaders.ipxe import Ipxe
from builder.loaders.pxelinux import Pxelinux
from builder.loaders.table import (
    FIRST_FILES,
    LASTING_FILES,
    LOADER_FILES,
    LOADERS,
    available,
    is_menu,
    loader_of,
    menu_files,
)
from builder.model.menu import EntryKind, Menu, MenuEntry, local_disk_entry, refusal_entry
from builder.model.recipe import Architecture, DistributionName, LoaderName
from tests.require import needs_tool

NEW = MenuEntry("lab/2", "Lab", "lab/2/vmlinuz", "lab/2/initramfs.img", "root=/dev/nfs nfsroot=10.0.0.1:/r ip=dhcp rw")
OLD = dataclasses.replace(NEW, label="lab/1", title="Lab, before", kernel="lab/1/vmlinuz", bootif=True)
MENU = Menu((NEW, OLD), "lab/2", seconds=5, listed=("lab/2", "lab/1"), note="of a test")
MAC = "52:54:00:AB:cd:01"

every_loader = pytest.mark.parametrize("loader", LOADERS.values(), ids=[name.value for name in LOADERS])


def test_every_name_of_a_recipe_has_a_loader() -> None:
    assert {name: loader.name for name, loader in LOADERS.items()} == {name: name for name in LoaderName}


@every_loader
def test_what_a_loader_writes_it_reads(loader: Loader) -> None:
    assert loader.parse(loader.render(MENU, [MAC])) == MENU.entries


OWN = MenuEntry("memtest", "Memory test", "extra/memtest.bin", cmdline="keyeventmode=1")
PLAIN = MenuEntry("tool", "Tool", "extra/tool.bin", "extra/tool.img")


@every_loader
def test_every_kind_of_entry_is_read_back(loader: Loader) -> None:
    entries = (NEW, local_disk_entry("local-disk"), refusal_entry("refused"), OWN, PLAIN, OLD)
    menu = dataclasses.replace(MENU, entries=entries, default="local-disk", listed=("local-disk", "memtest"))
    text = loader.render(menu, [MAC], {"52:54:00": "lab"})
    assert loader.parse(text) == entries
    assert [entry.files for entry in loader.parse(text)][1:4] == [(), (), ("extra/memtest.bin",)]
    assert {entry.kind for entry in entries} == set(EntryKind)


@every_loader
def test_a_group_has_a_menu_of_its_own(loader: Loader) -> None:
    group = dataclasses.replace(MENU, group="lab", prefixes=("52:54:00", "08:00:27"))
    files = menu_files([MENU, group, dataclasses.replace(MENU, client=MAC)], [loader])
    assert len(files) == 3
    assert all(is_menu(path) for path in files)
    own = files[f"{loader.directory}/{loader.menu_file(None, 'lab')}"]
    assert own == loader.render(group)
    everybodys = files[f"{loader.directory}/{loader.menu_file(None)}"]
    assert loader.tells_prefixes == ("08:00:27" in everybodys)


def test_grub_tells_groups_by_their_cards_and_leaves_out_who_has_a_menu() -> None:
    lines = Grub().render(MENU, [MAC], {"52:54:00": "lab"}).splitlines()
    assert 'if regexp "^52:54:00:" "$net_default_mac"; then set group=y; fi' in lines
    own = "configfile $prefix/group-lab.cfg"
    assert f'if [ "$group" = y -a "$net_default_mac" != {MAC.lower()} ]; then {own}; fi' in lines


@needs_tool("grub-script-check")
def test_grub_accepts_every_kind_of_entry(tmp_path: Path) -> None:
    entries = (NEW, local_disk_entry("local-disk"), refusal_entry("refused"), OWN, PLAIN, OLD)
    menu = dataclasses.replace(MENU, entries=entries, default="local-disk", web_server="10.0.0.1")
    text = Grub().render(menu, [MAC], {"52:54:00": "lab", "08:00:27": "hall"})
    for name, content, status in (("menu", text, 0), ("damaged", text.replace("; fi", "", 1), 1)):
        (tmp_path / name).write_text(content, "utf-8")
        done = subprocess.run(["grub-script-check", tmp_path / name], check=False, capture_output=True)
        assert done.returncode == status, done.stderr


@every_loader
def test_what_a_loader_cannot_read_is_passed_over(loader: Loader) -> None:
    assert loader.parse("") == ()
    assert loader.parse("\0 \n\n# nothing\nLABEL\nmenuentry 'open\n:\nkernel\n}\n") is not None


@every_loader
def test_a_client_has_a_menu_of_its_own(loader: Loader) -> None:
    files = menu_files([MENU, dataclasses.replace(MENU, client=MAC)], [loader])
    assert len(files) == 2
    assert {loader_of(path) for path in files} == {loader}
    assert all(is_menu(path) for path in files)
    assert len({loader.menu_file(mac) for mac in (None, MAC, MAC.lower())}) == 2


@every_loader
def test_its_files_come_from_packages(loader: Loader) -> None:
    places = [
        (name, machine) for name in DistributionName for machine in Architecture if loader.packages(name, machine)
    ]
    assert places
    brought = [file for place in places for files in loader.packages(*place).values() for file in files]
    assert set(brought) == set(loader.files)
    assert {name for file in loader.boot_files.values() for name in (file.tftp, file.http)} <= set(loader.files)
    assert not any(is_menu(name) for name in loader.files)


@every_loader
def test_what_stays_lies_at_the_top(loader: Loader) -> None:
    assert loader.with_generation or not any("/" in name for name in loader.files)
    assert (set(loader.files) <= set(LASTING_FILES)) is not loader.with_generation


@every_loader
def test_the_longest_command_line_leaves_room_for_what_it_adds(loader: Loader) -> None:
    longest = dataclasses.replace(NEW, cmdline="x" * loader.cmdline_bytes, bootif=False)
    (line,) = [one for one in loader.render(Menu((longest,), "lab/2")).splitlines() if "xxx" in one]
    handed_over = [word for word in line.split() if word not in ("APPEND", "linux", "kernel", "||", "goto", "/failed")]
    assert len(" ".join(handed_over[-2:])) <= 2047


def test_loaders_share_no_name_in_the_tftp_root() -> None:
    names = [name for loader in LOADERS.values() for name in (loader.directory, *loader.files)]
    assert len(names) == len(set(names))
    assert set(FIRST_FILES) <= set(LOADER_FILES)


def test_each_distribution_has_some() -> None:
    names = {name: [loader.name.value for loader in available(name, Architecture.X86_64)] for name in DistributionName}
    assert names == {"debian": ["pxelinux", "grub", "ipxe"], "arch": ["pxelinux", "ipxe"]}
    assert [loader.name.value for loader in available(DistributionName.ARCH, Architecture.I686)] == ["pxelinux"]


def test_pxelinux_asks_for_the_hardware_type_and_the_address() -> None:
    assert Pxelinux().menu_file(MAC) == "01-52-54-00-ab-cd-01"
    syslinux = Pxelinux().packages(DistributionName.ARCH, Architecture.X86_64)["syslinux"]
    assert syslinux["ldlinux.c32"] == "usr/lib/syslinux/bios/ldlinux.c32"


@pytest.mark.parametrize("keyword", ["KERNEL", "kernel", "LINUX"])
def test_pxelinux_reads_what_people_write(keyword: str) -> None:
    text = f"default x\nlabel x\n\t{keyword}\ta/vmlinuz\n  initrd a/initramfs.img\nappend root=/dev/nfs quiet\n"
    assert Pxelinux().parse(text) == (MenuEntry("x", "x", "a/vmlinuz", "a/initramfs.img", "root=/dev/nfs quiet"),)


def test_shim_finds_grub_beside_it() -> None:
    """By this name, and at the top, wherever a DHCP server writes shim's; GRUB's network image has the prefix /grub."""
    packages = Grub().packages(DistributionName.DEBIAN, Architecture.X86_64)
    assert packages["shim-signed"] == {"shimx64.efi": "usr/lib/shim/shimx64.efi.signed"}
    assert packages["grub-efi-amd64-signed"] == {"grubx64.efi": "usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed"}
    assert Grub().boot_files[ClientArchitecture.X64_UEFI].tftp == "shimx64.efi"
    assert (Grub().directory, Grub().menu_file(None)) == ("grub", "grub.cfg")


def test_grub_sends_known_clients_to_their_menus() -> None:
    files = menu_files([MENU, dataclasses.replace(MENU, client=MAC)], [Grub()])
    sends = 'if [ "$net_default_mac" = 52:54:00:ab:cd:01 ]; then configfile $prefix/01-52-54-00-ab-cd-01.cfg; fi'
    assert sends in files["grub/grub.cfg"].splitlines()
    assert sends not in files["grub/01-52-54-00-ab-cd-01.cfg"]


def test_under_secure_boot_grub_offers_no_kernel_that_it_would_refuse() -> None:
    unsigned = dataclasses.replace(MENU, entries=(dataclasses.replace(NEW, signed=False), OLD))
    lines = Grub().render(unsigned).splitlines()
    guard = lines.index('if [ "$lockdown" != y ]; then')
    kernel = lines.index(f"    linux /lab/2/vmlinuz {NEW.cmdline}")
    otherwise = lines.index("else")
    assert guard < kernel < otherwise
    # nothing else boots instead of the default
    assert "menuentry Lab --id lab/2 {" in lines[otherwise:]
    assert Grub().parse("\n".join(lines)) == unsigned.entries
    another = Grub().render(dataclasses.replace(unsigned, default="lab/1"))
    assert "else" not in another.splitlines()


def test_grub_goes_on_over_http_where_a_web_server_is() -> None:
    assert "set root=(http,10.0.0.1:8080)" in Grub().render(dataclasses.replace(MENU, web_server="10.0.0.1:8080"))
    assert "set root" not in Grub().render(MENU)


@pytest.mark.parametrize("word", ["a=$x", "a=b;c", "a={b}", "a=<b>", "a=b|c", "#a", "a=größe", "a=*", "a=&"])
def test_grub_takes_every_word_for_one(word: str) -> None:
    entry = dataclasses.replace(NEW, cmdline=f"root=/dev/nfs {word} rw")
    text = Grub().render(Menu((entry,), "lab/2"))
    assert Grub().parse(text) == (entry,)
    (line,) = [one for one in text.splitlines() if "linux" in one]
    assert shlex.split(line)[3] == word
    assert Grub().unfit_word(entry.cmdline) is None


@pytest.mark.parametrize(
    ("loader", "word"),
    [
        (Grub(), "unit=a\\x2db"),
        (Grub(), "a='b'"),
        (Ipxe(), "a=${b}"),
        (Ipxe(), "||"),
        (Ipxe(), "&&"),
        (Ipxe(), ";"),
        (Ipxe(), "#"),
        (Ipxe(), "#a=b"),
        (Ipxe(), "a=b\\"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name.value,
)
def test_a_loader_says_which_words_it_would_change(loader: Loader, word: str) -> None:
    assert loader.unfit_word(f"root=/dev/nfs {word} rw") == word
    assert loader.unfit_word("root=/dev/nfs rw") is None


@pytest.mark.parametrize("word", ["a;b", "a#b", "a||b", "a=$b", "a={b}", "unit=a\\x2db"])
def test_ipxe_takes_what_only_looks_like_its_own(word: str) -> None:
    """It splits a line at white space first."""
    assert Ipxe().unfit_word(f"root=/dev/nfs {word} rw") is None


def test_ipxe_goes_on_where_its_script_came_from() -> None:
    script = Ipxe().render(MENU, [MAC]).splitlines()
    assert script[0] == "#!ipxe"
    assert "iseq ${netX/mac} 52:54:00:ab:cd:01 && chain --replace 01-52-54-00-ab-cd-01.ipxe ||" in script
    assert "choose --timeout 5000 --default lab/2 label && goto ${label} ||" in script
    assert f"kernel ../lab/2/vmlinuz initrd=initramfs.img {NEW.cmdline} || goto /failed" in script
    assert ":/failed" in script
    at_once = Ipxe().render(dataclasses.replace(MENU, seconds=0))
    assert "goto lab/2" in at_once
    assert "choose" not in at_once
