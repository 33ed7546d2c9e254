"""The firmware of a guest: QEMU's own BIOS, or OVMF for UEFI, with Secure Boot on where that is asked for.

Sources: QEMU's docs/system (pflash, -fw_cfg), OVMF's README (SMM, secure variables; opt/org.tianocore/IPv4PXESupport),
the file lists of Debian's ovmf and Arch Linux's edk2-ovmf.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path

from builder.errors import HostError
from builder.model.recipe import LoaderName

_DEBIAN, _ARCH = Path("/usr/share/OVMF"), Path("/usr/share/edk2/x64")
# OVMF has a driver for it; through the iPXE in the ROM of others shim cannot verify GRUB: "(0x2) Invalid Parameter"
_DRIVEN_NIC = "virtio-net-pci"
_HINT = "Debian: apt-get install ovmf; Arch Linux: pacman -S edk2-ovmf"
_NO_KEYS = "Arch Linux's edk2-ovmf has no variables with Microsoft's keys in them; Debian's ovmf does"


class Firmware(enum.StrEnum):
    """What a guest starts with."""

    BIOS = "bios"
    UEFI = "uefi"
    UEFI_SECURE = "uefi-secure"
    UEFI_HTTP = "uefi-http"

    @property
    def default_nic(self) -> str:
        """A network card that it boots from."""
        return "e1000" if self is Firmware.BIOS else _DRIVEN_NIC

    @property
    def loaders(self) -> tuple[LoaderName, ...]:
        """The boot loaders that it can start, the usual one first."""
        return _LOADERS[self]


_LOADERS = {
    Firmware.BIOS: (LoaderName.PXELINUX, LoaderName.IPXE),
    Firmware.UEFI: (LoaderName.GRUB, LoaderName.IPXE),
    Firmware.UEFI_SECURE: (LoaderName.GRUB,),
    # Debian 12's signed GRUB knows no HTTP
    Firmware.UEFI_HTTP: (LoaderName.IPXE, LoaderName.GRUB),
}


@dataclass(frozen=True)
class Flash:
    """OVMF: its program, and the variables that a guest begins with, which are never written to."""

    code: Path
    variables: Path


_FLASHES = {
    False: (
        Flash(_DEBIAN / "OVMF_CODE_4M.fd", _DEBIAN / "OVMF_VARS_4M.fd"),
        Flash(_ARCH / "OVMF_CODE.4m.fd", _ARCH / "OVMF_VARS.4m.fd"),
    ),
    # with the keys of Microsoft's authority of 2011
    True: (Flash(_DEBIAN / "OVMF_CODE_4M.ms.fd", _DEBIAN / "OVMF_VARS_4M.ms.fd"),),
}


def find_flash(firmware: Firmware) -> Flash | None:
    """The OVMF of this host for a guest; None for BIOS. HostError where there is none."""
    if firmware is Firmware.BIOS:
        return None
    secure = firmware is Firmware.UEFI_SECURE
    for flash in _FLASHES[secure]:
        if flash.code.is_file() and flash.variables.is_file():
            return flash
    if secure and any(flash.code.is_file() for flash in _FLASHES[False]):
        raise HostError(f"--firmware {firmware} needs a UEFI firmware with keys in it", _NO_KEYS)
    raise HostError(f"--firmware {firmware} needs OVMF, which is not on this host", _HINT)


def firmware_arguments(firmware: Firmware, flash: Flash | None) -> list[str]:
    """QEMU's arguments for the machine with this firmware; what a guest writes to its variables is forgotten."""
    # without graphics the firmware and the loaders speak on the first serial port
    if flash is None:
        return ["-machine", "q35,graphics=off"]
    secure = firmware is Firmware.UEFI_SECURE
    arguments = ["-machine", f"q35,graphics=off{',smm=on' if secure else ''}"]
    arguments += ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={flash.code}"]
    arguments += ["-drive", f"if=pflash,unit=1,format=raw,snapshot=on,file={flash.variables}"]
    if secure:  # the variables are written by the firmware alone, in a mode that no operating system is in
        arguments += ["-global", "driver=cfi.pflash01,property=secure,value=on"]
        arguments += ["-global", "ICH9-LPC.disable_s3=1"]
    if firmware is Firmware.UEFI_HTTP:  # else it tries both for two minutes first
        for version in ("4", "6"):
            arguments += ["-fw_cfg", f"name=opt/org.tianocore/IPv{version}PXESupport,string=n"]
    return arguments


def nic_device(firmware: Firmware, nic: str | None) -> str:
    """The device of QEMU for a network card; one that the firmware has a driver for needs no ROM of its own."""
    name = nic or firmware.default_nic
    return f"{name},romfile=" if firmware is not Firmware.BIOS and name == _DRIVEN_NIC else name
