"""A medium has what a store serves on it, for BIOS and for UEFI, and names the store's root."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from builder.deploy import adopt_kernel
from builder.loaders.grub import Grub
from builder.store.layout import find_store
from tests.images import DISKLESS, run_diskless
from tests.require import needs_root, needs_tool
from tests.scratch import new_place, scratch
from tests.stores import deployed, quiet
from tests.versions import RELEASE, kernel_image, make_version

pytestmark = [needs_root, needs_tool("xorriso", "mformat", "mtype"), pytest.mark.root]


@pytest.fixture(scope="module", params=["2.06-13+deb12u2", None], ids=["uefi", "bios"])
def written(request: pytest.FixtureRequest) -> tuple[Path, dict[str, object], Path]:
    """A medium, what the command said of it, and its store."""
    place = new_place()
    version = make_version(scratch() / f"media-{request.param}", files=20, grub=request.param)
    deployed(place, version)
    target = place.parent / f"medium-{request.param}.iso"
    done = run_diskless("media", "lab", "--store", place, "--to", target, "--json")
    assert done.returncode == 0, done.stderr
    return target, json.loads(done.stdout), place


def extracted(medium: Path, name: str) -> bytes:
    target = medium.with_suffix(".out")
    target.unlink(missing_ok=True)
    command = ["xorriso", "-osirrox", "on", "-indev", str(medium), "-extract", name, str(target)]
    subprocess.run(command, check=True, capture_output=True)
    return target.read_bytes()


def test_it_has_the_active_versions_kernel_and_initramfs(written: tuple[Path, dict[str, object], Path]) -> None:
    medium, said, place = written
    boot = place / "boot" / str(said["version"])
    assert extracted(medium, "/boot/vmlinuz") == (boot / "vmlinuz").read_bytes()
    assert extracted(medium, "/boot/initrd.img") == (boot / "initramfs.img").read_bytes()
    assert said["size"] == medium.stat().st_size


def test_its_menus_name_the_stores_root(written: tuple[Path, dict[str, object], Path]) -> None:
    medium, said, place = written
    menu = extracted(medium, "/isolinux/isolinux.cfg").decode()
    assert "KERNEL /boot/vmlinuz\n" in menu
    assert f"nfsroot=192.168.1.1:{place}" in menu
    if not said["uefi"]:
        return
    image = medium.with_suffix(".fat")
    image.write_bytes(extracted(medium, "/boot/efi.img"))
    text = subprocess.run(["mtype", "-i", image, "::/grub/grub.cfg"], check=True, capture_output=True, text=True).stdout
    assert text.startswith("search --no-floppy --file --set=root /boot/")
    assert extracted(medium, text.split()[4]) == b""
    assert f"linux /boot/vmlinuz root=/dev/nfs nfsroot=192.168.1.1:{place}" in text
    shim = subprocess.run(["mtype", "-i", image, "::/EFI/BOOT/BOOTX64.EFI"], check=True, capture_output=True).stdout
    assert shim == (find_store(place).boot / "shimx64.efi").read_bytes()


def grub_menu(medium: Path) -> str:
    image = medium.with_suffix(".fat")
    image.write_bytes(extracted(medium, "/boot/efi.img"))
    done = subprocess.run(["mtype", "-i", image, "::/grub/grub.cfg"], check=True, capture_output=True, text=True)
    return done.stdout


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("adopted", [False, True])
def test_its_grub_offers_a_kernel_as_the_stores_does(signed: bool, adopted: bool) -> None:
    """One that nobody signed, without Secure Boot alone: a client may have installed it."""
    place = new_place()
    mode = "rw" if adopted else "overlay"
    name = f"media-{mode}-{signed}"
    version = make_version(scratch() / name, files=20, mode=mode, grub="2.06-13+deb12u2", signed=signed or adopted)
    deployed(place, version)
    if adopted:
        served, boot = place / "boot/lab" / version.name, place / "writable/lab" / version.name / "root/boot"
        boot.mkdir()
        kernel = (served / "vmlinuz").read_bytes() if signed else kernel_image(RELEASE)
        (boot / f"vmlinuz-{RELEASE}").write_bytes(kernel + b"newer")
        shutil.copyfile(served / "initramfs.img", boot / f"initrd.img-{RELEASE}")
        adopt_kernel(place, "lab", None, quiet())
    target = place.parent / f"{name}.iso"
    done = run_diskless("media", "lab", "--store", place, "--to", target)
    assert done.returncode == 0, done.stderr
    (entry,) = {entry for entry in Grub().parse(grub_menu(target)) if entry.kernel}
    assert entry.signed is signed
    assert entry.label == (f"lab/{version.name}.1" if adopted else f"lab/{version.name}")
    assert ("Secure Boot" in done.stderr) is not signed


def test_it_has_no_arguments_of_one_client() -> None:
    """Not even where everybody's menu has no image to take an entry from."""
    place = new_place()
    version = make_version(scratch() / "media-refuse", files=20, grub="2.06-13+deb12u2", signed=False)
    clients = (
        "clients:\n  - {mac: '52:54:00:00:00:01', cmdline: [single]}\n  - {mac: '52:54:00:00:00:02', name: plain}\n"
    )
    for number, unknown in enumerate(("boot", "refuse")):
        (place / "site.yml").write_text(f"server: 192.168.1.1\nunknown: {unknown}\n{clients}", "utf-8")
        deployed(place, version, server=None)
        target = place.parent / f"refuse-{number}.iso"
        done = run_diskless("media", "lab", "--store", place, "--to", target)
        assert done.returncode == 0, done.stderr
        menu = extracted(target, "/isolinux/isolinux.cfg").decode()
        assert "nfsroot=192.168.1.1:" in menu
        assert "single" not in menu
        (entry,) = {entry for entry in Grub().parse(grub_menu(target)) if entry.kernel}
        assert not entry.signed


def test_it_is_a_disk_and_a_cd(written: tuple[Path, dict[str, object], Path]) -> None:
    medium, said, _ = written
    head = medium.read_bytes()[:0x8806]
    assert head[0x1FE:0x200] == b"\x55\xaa"
    assert head[0x8001:0x8006] == b"CD001"
    assert said["uefi"] is ("2.06" in medium.name)


def test_what_cannot_be_is_refused(written: tuple[Path, dict[str, object], Path]) -> None:
    medium, _, place = written
    cases: tuple[tuple[list[str | Path], str], ...] = (
        (["other", "--store", place, "--to", medium], "no version of other is active"),
        (["lab", "--store", place, "--to", place], "is a directory"),
        (["lab", "--store", place, "--to", "/dev/null"], "/dev/null is not a file"),
        (["lab", "--store", place, "--to", place / "none/x.iso"], "is not there"),
        (["lab", "--store", place.parent / "nothing", "--to", medium], "holds no store"),
    )
    for arguments, message in cases:
        before = medium.stat().st_ino
        done = run_diskless("media", *arguments)
        assert done.returncode == 2, done.stderr
        assert message in done.stderr or (message == "is a directory" and "is not a file" in done.stderr)
        assert medium.stat().st_ino == before
    assert not list(medium.parent.glob(".diskless-medium-*"))


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    place = new_place()
    deployed(place, make_version(scratch() / "media-full", files=20))
    small = tmp_path / "small"
    small.mkdir()
    mount = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        'mount -t tmpfs -o size=300k tmpfs "$1"; shift; "$@"; echo $?; ls -A "$0"',
    ]
    arguments = [small, small, DISKLESS, "media", "lab", "--store", place, "--to", small / "x.iso"]
    done = subprocess.run([*mount, *map(str, arguments)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3"], done.stderr
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr
