"""Which loaders clients get: they come with a deploy, go back with a rollback, and verify compares them."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.deploy import DeployOptions, adopt_kernel, deploy, prune, refresh_menus, rollback
from builder.errors import InputError
from builder.loaders.base import ClientArchitecture
from builder.loaders.grub import Grub
from builder.model.site import Site
from builder.output.offer import offer_directory
from builder.progress.progress import Progress
from builder.render.server.boot_files import choose_boot_files
from builder.store.generations import require_active
from builder.store.inspection.verification import Severity, verify
from builder.store.layout import find_store
from builder.store.pruning import PruneOptions
from builder.store.served_loaders import program_version, read_served_store
from builder.system.private_mounts import private_mounts
from tests.require import needs_root
from tests.scratch import new_place, scratch
from tests.stores import SERVER, deployed, faults, quiet, snapshot
from tests.versions import RELEASE, kernel_image, make_version

pytestmark = [needs_root, pytest.mark.root]

OLD, NEW = "2.06-13+deb12u2", "2.12-9+deb13u1"


def version(name: str, grub: str | None, image: str = "lab", **more: Any) -> Path:
    return make_version(scratch() / "with-grub", {"etc/name": name.encode()}, image=image, files=20, grub=grub, **more)


@pytest.fixture
def place() -> Path:
    return new_place()


def grub_of(place: Path) -> str:
    return program_version(place / "boot/grubx64.efi")


def test_loaders_come_with_a_deploy_and_go_back_with_a_rollback(place: Path) -> None:
    deployed(place, version("1", OLD))
    assert grub_of(place) == OLD
    assert {link: str((place / "boot" / link).readlink()) for link in ("grub", "ipxe", "shimx64.efi")} == {
        "grub": "current/grub",
        "ipxe": "current/ipxe",
        "shimx64.efi": "current/shimx64.efi",
    }
    deployed(place, version("2", NEW))
    assert grub_of(place) == NEW
    rollback(place, None, None, quiet())
    assert grub_of(place) == OLD
    assert faults(place) == []


def test_what_has_no_loader_of_its_own_is_booted_by_anothers(place: Path) -> None:
    old = version("1", None)
    deployed(place, version("2", OLD), old)
    assert grub_of(place) == OLD
    menu = (place / "boot/grub/grub.cfg").read_text("utf-8")
    labels = [entry.label for entry in Grub().parse(menu)]
    assert f"lab/{old.name}" in labels
    assert f"set default=lab/{old.name}" in menu
    assert faults(place) == []


def test_the_newest_that_clients_boot_is_served(place: Path) -> None:
    """Whatever image unknown clients boot: it boots the kernels of all."""
    deployed(place, version("1", OLD), version("1", NEW, "other"))
    assert grub_of(place) == NEW
    assert require_active(find_store(place)).default == "lab"


def test_verify_names_a_loader_that_is_older_than_one_in_the_store(place: Path) -> None:
    deployed(place, version("1", OLD))
    newer = version("2", NEW)
    deployed(place, newer, activate=False)
    found = [finding for finding in verify(find_store(place)) if finding.kind is Severity.OLDER]
    assert [(finding.where, finding.message.split(":")[0]) for finding in found] == [
        ("grubx64.efi", f"is {OLD}, and lab {newer.name} has {NEW}")
    ]
    assert faults(place) == []


def test_where_boot_is_another_disk_a_rollback_copies_no_loader(place: Path) -> None:
    """A rollback works on a full disk; that of an older generation is there already."""
    boot = place / "boot"
    boot.mkdir()
    first, second, third = version("1", OLD), version("2", NEW, shim="16.2"), version("3", NEW, shim="16.2")
    with private_mounts():
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200M", "none", boot], check=True)
        deployed(place, first, second)
        assert boot.stat().st_dev != (place / "versions").stat().st_dev
        shutil.rmtree(boot / ".reserve")
        deployed(place, third)
        # it holds what a further copy of each loader takes, though two generations share them now
        generation = boot / "generations/000003"
        loaders = sum((generation / name).stat().st_size for name in require_active(find_store(place)).loaders)
        assert (boot / ".reserve/bytes").stat().st_size >= (1 << 20) + 2 * loaders
        rollback(place, "lab", first.name, quiet())
        rollback(place, "lab", second.name, quiet())
        for name in ("grubx64.efi", "shimx64.efi", "mmx64.efi", "ipxe/ipxe.efi"):
            inodes = [(boot / f"generations/{number:06}" / name).stat().st_ino for number in range(1, 6)]
            assert inodes[0] == inodes[3], name
            assert inodes[1] == inodes[2] == inodes[4], name
        assert faults(place) == []


def test_of_the_same_grub_that_with_the_newer_shim_is_served(place: Path) -> None:
    """In whatever order they came."""
    deployed(place, version("1", OLD, shim="16.1"), version("1", OLD, "other", shim="15.8"))
    assert program_version(place / "boot/shimx64.efi") == "16.1"
    other = new_place()
    deployed(other, version("1", OLD, shim="15.8"), version("1", OLD, "other", shim="16.1"))
    assert program_version(other / "boot/shimx64.efi") == "16.1"


def test_verify_names_a_shim_that_is_older_than_one_in_the_store(place: Path) -> None:
    deployed(place, version("1", OLD, shim="15.8"))
    newer = version("2", OLD, shim="16.1")
    deployed(place, newer, activate=False)
    found = [finding for finding in verify(find_store(place)) if finding.kind is Severity.OLDER]
    assert {finding.where: finding.message.split(":")[0] for finding in found} == dict.fromkeys(
        ("shimx64.efi", "mmx64.efi"), f"is 15.8, and lab {newer.name} has 16.1"
    )


def replace_link(boot: Path) -> None:
    (boot / "shimx64.efi").unlink()
    (boot / "shimx64.efi").write_bytes(b"x")


DAMAGES: dict[str, Callable[[Path], None]] = {
    "gone": lambda boot: (boot / "current/grubx64.efi").unlink(),
    "link-replaced": replace_link,
    "link-gone": lambda boot: (boot / "grub").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_verify_names_a_damaged_loader(damage: str, place: Path) -> None:
    deployed(place, version("1", OLD))
    DAMAGES[damage](place / "boot")
    assert faults(place) != []


def test_what_an_administrator_put_there_is_left(place: Path) -> None:
    deployed(place, version("1", None))
    (place / "boot/shimx64.efi").write_bytes(b"mine")
    deployed(place, version("2", OLD))
    assert (place / "boot/shimx64.efi").read_bytes() == b"mine"
    assert [Path(finding.where).name for finding in faults(place)] == ["shimx64.efi"]


def test_under_secure_boot_only_signed_kernels_are_offered(place: Path) -> None:
    unsigned, signed = version("1", OLD, signed=False), version("1", OLD, "other")
    deployed(place, signed, unsigned)
    menu = (place / "boot/grub/grub.cfg").read_text("utf-8")
    offered = {entry.label: entry.signed for entry in Grub().parse(menu)}
    assert offered == {
        f"lab/{unsigned.name}": False,
        "lab": False,
        f"other/{signed.name}": True,
        "other": True,
    }


def test_a_deploy_says_that_an_adopted_kernel_is_unsigned(place: Path) -> None:
    """Of the version that it deploys again clients boot another kernel than the version's."""
    desk = version("1", OLD, mode="rw")
    deployed(place, desk)
    boot, served = place / "writable/lab" / desk.name / "root/boot", place / "boot/lab" / desk.name
    boot.mkdir()
    (boot / f"vmlinuz-{RELEASE}").write_bytes(kernel_image(RELEASE))
    shutil.copyfile(served / "initramfs.img", boot / f"initrd.img-{RELEASE}")
    adopt_kernel(place, "lab", None, quiet())
    said = io.StringIO()
    deploy(offer_directory(desk), place, DeployOptions(server=SERVER), Progress(said))
    assert f"lab {desk.name}.1: its kernel is not signed" in " ".join(said.getvalue().split())


# what PXELINUX hands over as it is, and GRUB does not: nobody noticed before there was GRUB
UNFIT = {"backslash": ("systemd.mask=a\\x2db.service",), "length": ("x=" + "y" * 1850,)}


@pytest.mark.parametrize("word", UNFIT)
def test_what_no_other_loader_can_boot_is_in_the_way_before_anything_comes(word: str, place: Path) -> None:
    """A menu names every version: with this one, no menu of GRUB could be written from then on."""
    first, old = version("0", None), version("1", None, cmdline=UNFIT[word])
    deployed(place, first, old)
    before = snapshot(place)
    with pytest.raises(InputError, match=f"^lab/{re.escape(old.name)}: .*grub") as caught:
        deployed(place, version("2", OLD))
    assert "boot.loaders" in (caught.value.hint or "")
    assert snapshot(place) == before
    rollback(place, None, None, quiet())
    refresh_menus(place, quiet())
    prune(place, PruneOptions(keep=1), quiet())
    assert faults(place) == []
    deployed(place, version("3", None))


@pytest.mark.parametrize("word", UNFIT)
def test_a_loader_comes_when_what_it_cannot_boot_has_gone(word: str, place: Path) -> None:
    new = version("2", OLD)
    deployed(place, version("1", None, cmdline=UNFIT[word]), version("0", None))
    prune(place, PruneOptions(keep=1, force=True), quiet())
    deployed(place, new)
    assert grub_of(place) == OLD


def test_a_pinned_client_is_sent_to_its_own_menu(place: Path) -> None:
    first = version("1", OLD)
    deployed(place, first, version("2", OLD))
    client = f"{{mac: '52:54:00:00:00:0A', image: lab, version: {first.name}}}"
    (place / "site.yml").write_text(f"server: 192.168.1.1\nclients: [{client}]\n", "utf-8")
    refresh_menus(place, quiet())
    general = (place / "boot/grub/grub.cfg").read_text("utf-8")
    assert "= 52:54:00:00:00:0a ]; then configfile $prefix/01-52-54-00-00-00-0a.cfg; fi" in general
    own = (place / "boot/grub/01-52-54-00-00-00-0a.cfg").read_text("utf-8")
    assert f"set default=lab/{first.name}\n" in own
    script = (place / "boot/ipxe/01-52-54-00-00-00-0a.ipxe").read_text("utf-8")
    assert f"\ngoto lab/{first.name}\n" in script
    assert faults(place) == []


def test_dhcp_names_what_the_store_has(place: Path) -> None:
    site = Site(server="192.168.1.1", http_port=80)
    deployed(place, version("1", None))
    only_bios = choose_boot_files(site, read_served_store(find_store(place), rw=False))
    assert (dict(only_bios.firmware), only_bios.script) == ({ClientArchitecture.X86_BIOS: "lpxelinux.0"}, None)
    deployed(place, version("2", OLD))
    # this GRUB cannot go on over HTTP: iPXE can
    files = choose_boot_files(site, read_served_store(find_store(place), rw=False))
    assert files.firmware[ClientArchitecture.X64_UEFI] == "shimx64.efi"
    assert files.firmware[ClientArchitecture.X64_UEFI_HTTP] == "http://192.168.1.1/ipxe/ipxe.efi"
    assert files.script == "http://192.168.1.1/ipxe/boot.ipxe"
    deployed(place, version("3", NEW))
    newer = choose_boot_files(site, read_served_store(find_store(place), rw=False))
    assert newer.firmware[ClientArchitecture.X64_UEFI_HTTP] == "http://192.168.1.1/shimx64.efi"


def test_kernels_come_over_http_where_grub_can(place: Path) -> None:
    deployed(place, version("1", OLD))
    (place / "site.yml").write_text("server: 192.168.1.1\nhttp_port: 8080\n", "utf-8")
    deployed(place, version("2", OLD))
    assert "set root" not in (place / "boot/grub/grub.cfg").read_text("utf-8")
    deployed(place, version("3", NEW))
    assert "\nset root=(http,192.168.1.1:8080)\n" in (place / "boot/grub/grub.cfg").read_text("utf-8")


def test_a_loader_takes_no_room_beside_its_version(place: Path) -> None:
    new = version("2", NEW)
    deployed(place, version("1", OLD), new)
    served = (place / "boot/grubx64.efi").stat()
    assert served.st_ino == (place / "versions/lab" / new.name / "boot/grubx64.efi").stat().st_ino
