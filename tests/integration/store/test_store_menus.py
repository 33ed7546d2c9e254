"""What a site says of menus: groups, clients that nobody knows, local disks, entries and servers of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from builder.deploy import refresh_menus
from builder.errors import InputError
from builder.loaders.table import LOADERS, loader_of
from builder.model.menu import EntryKind, MenuEntry
from builder.model.recipe import LoaderName
from builder.store.generations import served_menus
from builder.store.layout import find_store
from tests.command import run_command
from tests.require import needs_root
from tests.scratch import new_place, scratch
from tests.stores import deployed, faults, quiet
from tests.versions import make_version

pytestmark = [needs_root, pytest.mark.root]

MAC = "52:54:00:00:00:0a"
SITE = f"""\
server: 192.168.1.1
cmdline: [quiet]
local_disk: true
nfs: {{address: 192.168.1.5, path: /volume1/roots}}
entries:
  - {{name: memtest, title: Memory test, kernel: extra/memtest.bin, cmdline: [keyeventmode=1]}}
groups:
  - {{name: lab, mac_prefixes: ["08:00:27"], cmdline: [console=tty1]}}
  - {{name: kiosk, entry: local-disk, nfs_options: [rsize=16384]}}
clients:
  - {{mac: "{MAC}", group: kiosk, cmdline: [single]}}
  - {{mac: "52:54:00:00:00:0b", name: plain}}
"""


def version(name: str, **more: Any) -> Path:
    return make_version(scratch() / "menus", {"etc/name": name.encode()}, image="lab", files=20, **more)


@pytest.fixture
def place() -> Path:
    return new_place()


def write_site(place: Path, text: str) -> None:
    (place / "site.yml").write_text(text, encoding="ascii")


def with_own_files(place: Path) -> None:
    """A store with a version, and the files of the site's own entry."""
    write_site(place, "server: 192.168.1.1\n")
    deployed(place, version("1", grub="2.12-9+deb13u1"), server=None)
    (place / "boot/extra").mkdir()
    (place / "boot/extra/memtest.bin").write_bytes(b"program")


def entries(place: Path, name: LoaderName, client: str | None = None, group: str | None = None) -> dict[str, MenuEntry]:
    loader = LOADERS[name]
    path = f"{loader.directory}/{loader.menu_file(client, group)}"
    return {entry.label: entry for entry in loader.parse((place / "boot" / path).read_text("utf-8"))}


def default_of(place: Path, path: str) -> str:
    (line,) = [one for one in (place / "boot" / path).read_text("utf-8").splitlines() if one.startswith("DEFAULT")]
    return line.partition(" ")[2]


def test_menus_of_groups_and_entries_of_its_own(place: Path) -> None:
    with_own_files(place)
    write_site(place, SITE)
    assert refresh_menus(place, quiet()) is not None
    for name in {loader_of(path).name for path, _ in served_menus(find_store(place))}:
        everybodys, kiosk, lab = entries(place, name), entries(place, name, MAC), entries(place, name, group="lab")
        assert everybodys.keys() == kiosk.keys() == lab.keys() == {"lab", *everybodys}
        assert everybodys["memtest"].cmdline == "keyeventmode=1"
        assert everybodys["memtest"].files == ("extra/memtest.bin",)
        assert everybodys["local-disk"].kind is EntryKind.LOCAL_DISK
        assert "nfsroot=192.168.1.5:/volume1/roots/" in everybodys["lab"].cmdline
        assert everybodys["lab"].cmdline.endswith(" quiet")
        assert kiosk["lab"].cmdline.endswith(" quiet single")
        assert ",rsize=16384" in kiosk["lab"].cmdline
        assert ",rsize=16384" not in lab["lab"].cmdline
        assert lab["lab"].cmdline.endswith(" quiet console=tty1")
    assert default_of(place, "pxelinux.cfg/01-52-54-00-00-00-0a") == "local-disk"
    assert default_of(place, "pxelinux.cfg/group-lab") == default_of(place, "pxelinux.cfg/default") != "local-disk"
    assert not (place / "boot/pxelinux.cfg/01-52-54-00-00-00-0b").exists()
    assert faults(place) == []


@pytest.mark.parametrize(("unknown", "kinds"), [("refuse", {"refused"}), ("local-disk", None)])
def test_clients_that_nobody_knows(place: Path, unknown: str, kinds: set[str] | None) -> None:
    with_own_files(place)
    write_site(place, f"{SITE}unknown: {unknown}\n".replace("local_disk: true\n", ""))
    assert refresh_menus(place, quiet()) is not None
    assert default_of(place, "pxelinux.cfg/default") == ("refused" if kinds else "local-disk")
    if kinds:
        assert entries(place, LoaderName.PXELINUX).keys() == kinds
    # who is in the list boots as before
    assert default_of(place, "pxelinux.cfg/01-52-54-00-00-00-0b").startswith("lab/")
    assert default_of(place, "pxelinux.cfg/group-lab").startswith("lab/")
    assert faults(place) == []


def test_an_entry_without_its_file_is_in_no_menu(place: Path) -> None:
    with_own_files(place)
    write_site(place, SITE.replace("memtest.bin", "missing.bin"))
    with pytest.raises(InputError, match=r"the entry memtest of site.yml names extra/missing.bin") as caught:
        refresh_menus(place, quiet())
    assert f"correct entries in {place}/site.yml" in str(caught.value.hint)


def test_an_entry_is_called_as_no_image(place: Path) -> None:
    with_own_files(place)
    write_site(place, SITE.replace("name: memtest", "name: lab", 1))
    with pytest.raises(InputError, match="the menu has two entries lab"):
        refresh_menus(place, quiet())


def test_arguments_of_a_client_are_checked_as_all_are(place: Path) -> None:
    with_own_files(place)
    write_site(place, SITE.replace("[single]", "['a=${b}']"))
    with pytest.raises(InputError, match=r"hand over another kernel argument than a=\$\{b\}"):
        refresh_menus(place, quiet())
    write_site(place, SITE)
    # mounted by klibc's nfsmount, which knows few options
    deployed(place, version("1", mode="rw"), server=None)
    write_site(place, SITE.replace("rsize=16384", "noatime"))
    with pytest.raises(InputError, match=f"nfs_options of {MAC}: lab/.* does not know 'noatime'"):
        refresh_menus(place, quiet())


def test_what_a_group_is_pinned_to_is_not_pruned(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = version("1"), version("2")
    write_site(place, "server: 192.168.1.1\n")
    deployed(place, first, second, server=None)
    group = f"{{name: lab, mac_prefixes: ['08:00:27'], image: lab, version: {first.name}}}"
    write_site(place, f"server: 192.168.1.1\ngroups: [{group}]\n")
    refresh_menus(place, quiet())
    assert default_of(place, "pxelinux.cfg/group-lab") == f"lab/{first.name}"
    status, output, _ = run_command(capsys, "prune", "--to", str(place), "--keep", "1", "--dry-run")
    assert status == 0
    assert "pinned by group lab" in output


def test_who_uses_a_version_is_not_known_of_another_server(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_site(place, "server: 192.168.1.1\nnfs: {address: 192.168.1.5}\n")
    deployed(place, version("1"), version("2"), server=None)
    _, output, _ = run_command(capsys, "prune", "--to", str(place), "--keep", "1", "--min-age", "0s", "--dry-run")
    assert "clients mount it from 192.168.1.5" in output
