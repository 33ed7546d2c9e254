"""Secure Boot refuses what nobody signed, and each refusal is named; and which authority's keys are enough."""

from __future__ import annotations

import functools
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.boot import Bench, BootOptions, open_bench
from builder.bootlab.diagnosis import Failure
from builder.bootlab.machine.firmware import Firmware, Flash, find_flash
from builder.bootlab.machine.guest import GuestError, Machine
from builder.bootlab.settings import Patience
from builder.bootlab.timeline import Milestone
from builder.loaders.efi_program import read_efi_program
from builder.progress.progress import Progress
from tests.images import debian_image, other_image
from tests.require import needs_boot, needs_ovmf
from tests.scratch import scratch

pytestmark = [*needs_boot, needs_ovmf, pytest.mark.full]
SECURE = Machine(firmware=Firmware.UEFI_SECURE)


def replace(path: Path, content: bytes) -> None:
    """Another file under a name: the old one has more names, in the store."""
    real = path.resolve()
    real.unlink()
    real.write_bytes(content)
    real.chmod(0o644)


def unsigned(path: Path) -> bytes:
    """An EFI program without its signatures."""
    content = bytearray(path.read_bytes())
    (start,) = struct.unpack_from("<I", content, 0x3C)
    place = start + 24 + 112 + 8 * 4
    offset, size = struct.unpack_from("<II", content, place)
    assert size
    struct.pack_into("<II", content, place, 0, 0)
    return bytes(content[:offset])


def change_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    replace(path, bytes(content))


def chain(opened: Bench) -> None:
    menu = "set default=0\nset timeout=0\nmenuentry other {\n    chainloader /ipxe/ipxe.efi\n    boot\n}\n"
    replace(opened.tftp_root / "grub/grub.cfg", menu.encode())


NEGATIVE: dict[str, tuple[Callable[[Bench], None], Failure]] = {
    "a-changed-kernel": (lambda o: change_a_byte(o.boot_files / "vmlinuz"), Failure.KERNEL_REFUSED),
    "an-unsigned-kernel": (
        lambda o: replace(o.boot_files / "vmlinuz", unsigned(o.boot_files / "vmlinuz")),
        Failure.KERNEL_REFUSED,
    ),
    "an-unsigned-grub": (
        lambda o: replace(o.tftp_root / "grubx64.efi", unsigned(o.tftp_root / "grubx64.efi")),
        Failure.LOADER_REFUSED,
    ),
    "an-unsigned-first-loader": (
        lambda o: replace(o.tftp_root / "shimx64.efi", (o.tftp_root / "ipxe/ipxe.efi").read_bytes()),
        Failure.LOADER_REFUSED,
    ),
    "a-menu-that-chains-to-something-else": (chain, Failure.KERNEL_REFUSED),
}


@pytest.mark.parametrize("cell", NEGATIVE)
def test_what_nobody_signed_does_not_boot(cell: str) -> None:
    change, fault = NEGATIVE[cell]
    options = BootOptions(machine=SECURE, work=scratch() / "boot", patience=Patience(login=150))
    with open_bench(debian_image(), options, Progress()) as opened:
        change(opened)
        guest = opened.power_on(scratch() / f"secure-{cell}.console.log", SECURE)
        with pytest.raises(GuestError) as raised:
            guest.await_login()
        assert raised.value.diagnosis.fault is fault
        assert raised.value.diagnosis.evidence
        assert Milestone.KERNEL not in guest.timeline.seconds


@functools.cache
def firmware_with(authority: str) -> Flash:
    """The host's UEFI firmware with the keys of one of Microsoft's authorities and no other."""
    directory = scratch() / f"firmware-{authority}"
    directory.mkdir()
    directory.chmod(0o755)
    plain, secure = find_flash(Firmware.UEFI), find_flash(Firmware.UEFI_SECURE)
    assert plain is not None
    assert secure is not None
    flash = Flash(directory / "code.fd", directory / "variables.fd")
    shutil.copyfile(secure.code, flash.code)
    program = Path(sys.executable).with_name("virt-fw-vars")
    paths = ["-i", str(plain.variables), "-o", str(flash.variables)]
    options = ["--enroll-microsoft", "--microsoft-db", authority, "--sb"]
    subprocess.run([str(program), *options, *paths], check=True, capture_output=True)
    for path in (flash.code, flash.variables):
        path.chmod(0o644)
    return flash


@pytest.mark.parametrize("authority", ["uefi11", "uefi23"])
@pytest.mark.parametrize("image", [debian_image, other_image], ids=["this-release", "another-release"])
def test_the_keys_of_one_authority_are_enough_where_shim_has_its_signature(
    image: Callable[[], Path], authority: str
) -> None:
    machine = Machine(firmware=Firmware.UEFI_SECURE, flash=firmware_with(authority))
    options = BootOptions(machine=machine, work=scratch() / "boot", patience=Patience(login=240))
    with open_bench(image(), options, Progress()) as opened:
        shim = read_efi_program((opened.tftp_root / "shimx64.efi").read_bytes())
        assert shim is not None
        guest = opened.power_on(scratch() / f"{authority}.console.log", machine)
        if 2000 + int(authority[-2:]) in shim.authorities:
            guest.await_login()
            assert Milestone.KERNEL in guest.timeline.seconds
        else:
            with pytest.raises(GuestError) as raised:
                guest.await_login()
            assert raised.value.diagnosis.fault is Failure.LOADER_REFUSED
