"""iPXE: BIOS and UEFI clients, kernels over HTTP. Nobody signs it, so not under Secure Boot.

Sources: ipxe.org/scripting, ipxe.org/cmd and ipxe.org/howto/chainloading; the package ipxe of Debian and of Arch Linux.
A script's addresses are relative to its own: what was fetched over HTTP goes on over HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import assert_never

from builder.loaders.base import GROUP_FILE, NO_GROUPS, BootFile, ClientArchitecture, LoaderPackages
from builder.model.menu import EntryKind, Menu, MenuEntry, entry_kind
from builder.model.recipe import Architecture, DistributionName, LoaderName

_BIOS, _X64 = "ipxe/undionly.kpxe", "ipxe/ipxe.efi"
_PACKAGES: Mapping[DistributionName, LoaderPackages] = {
    DistributionName.DEBIAN: {"ipxe": {_BIOS: "usr/lib/ipxe/undionly.kpxe", _X64: "usr/lib/ipxe/snponly.efi"}},
    DistributionName.ARCH: {"ipxe": {_BIOS: "usr/share/ipxe/undionly.kpxe", _X64: "usr/share/ipxe/x86_64/ipxe.efi"}},
}
SCRIPT = "boot.ipxe"
# a kernel that is an EFI program finds its initramfs by this word only
_INITRD = "initrd=initramfs.img"
# what an entry is that boots no kernel, for who reads the menu
_KIND = "# kind:"
# firmware of UEFI goes on with its next entry, a BIOS is asked for its first disk
_LOCAL_DISK = ("iseq ${platform} efi && exit ||", "sanboot --no-describe --drive 0x80 || exit 1")
_REFUSAL = ("echo diskless: ${netX/mac} is in no list of this server", "sleep 10", "exit 1")
_BOOTIF = "BOOTIF=01-${netX/mac:hexhyp}"
_MENU = "menu"
# words that end a command: core/exec.c of iPXE
_ENDS = ("||", "&&", ";")
# no image has a slash in its name
_OR_FAIL = " || goto /failed"
# nobody may stand at the machine
_FAILED = (":/failed", "echo diskless: not all of it came, trying again in 30 seconds", "sleep 30", "reboot")


class Ipxe:
    """undionly.kpxe, and for UEFI a program that Debian calls snponly.efi; both use the firmware's network driver.

    Arch Linux' ipxe.efi has drivers of its own.
    """

    name: LoaderName = LoaderName.IPXE
    directory: str = "ipxe"
    files: tuple[str, ...] = (_BIOS, _X64)
    with_generation: bool = True
    beside_proxy: bool = True
    one_build: bool = True
    tells_prefixes: bool = False  # its scripts compare whole values
    boot_files: Mapping[ClientArchitecture, BootFile] = {
        ClientArchitecture.X86_BIOS: BootFile(tftp=_BIOS, http=_BIOS),
        ClientArchitecture.X64_UEFI: BootFile(tftp=_X64, http=_X64),
        ClientArchitecture.X64_UEFI_OLD: BootFile(tftp=_X64, http=_X64),
        ClientArchitecture.X64_UEFI_HTTP: BootFile(tftp=_X64, http=_X64),
    }
    cmdline_bytes: int = 2047 - len(_INITRD) - 1
    menu_seconds: int = 3599  # it counts milliseconds in 32 bits; as PXELINUX does, so that one site fits both

    def packages(self, distribution: DistributionName, architecture: Architecture) -> LoaderPackages:
        """PCs."""
        return _PACKAGES[distribution] if architecture is Architecture.X86_64 else {}

    def menu_file(self, client: str | None, group: str | None = None) -> str:
        """01 is the hardware type of Ethernet, as PXELINUX has it."""
        if group is not None:
            return f"{GROUP_FILE.format(group)}.ipxe"
        return SCRIPT if client is None else f"01-{client.lower().replace(':', '-')}.ipxe"

    def render(self, menu: Menu, clients: Sequence[str] = (), groups: Mapping[str, str] = NO_GROUPS) -> str:
        """A script; the first one sends each client that has its own to it. A group's is named by DHCP."""
        lines = ["#!ipxe", *([f"# {menu.note}"] if menu.note else [])]
        lines += [f"iseq ${{netX/mac}} {mac.lower()} && chain --replace {self.menu_file(mac)} ||" for mac in clients]
        if menu.seconds:
            lines += [_MENU, *(f"item {label} {label}" for label in menu.listed)]
            lines.append(f"choose --timeout {menu.seconds * 1000} --default {menu.default} label && goto ${{label}} ||")
        lines.append(f"goto {menu.default}")
        for entry in menu.entries:
            lines += _entry_lines(entry)
        return "\n".join([*lines, "", *_FAILED]) + "\n"

    def parse(self, text: str) -> tuple[MenuEntry, ...]:
        """Each label with the `kernel` and `initrd` that follow it."""
        entries: list[dict[str, str]] = []
        for line in text.splitlines():
            word, _, rest = line.strip().partition(" ")
            if word.startswith(":"):
                entries.append({"label": word[1:]})
            elif entries and line.startswith(_KIND):
                entries[-1][_KIND] = line.removeprefix(_KIND).strip()
            elif entries and word:
                entries[-1].setdefault(word, rest.strip())
        return tuple(_entry(fields) for fields in entries if {"kernel", _KIND} & fields.keys())

    def unfit_word(self, cmdline: str) -> str | None:
        """It expands ${...}; some words end its command, and one that begins with # its line."""
        return next(filter(_is_unfit, cmdline.split()), None)


def _is_unfit(word: str) -> bool:
    return "${" in word or word in _ENDS or word.startswith("#") or word.endswith("\\")


def _entry_lines(entry: MenuEntry) -> list[str]:
    head = ["", f":{entry.label}", f"# {entry.title}"]
    match entry.kind:
        case EntryKind.LOCAL_DISK:
            return [*head, f"{_KIND} {entry.kind}", *_LOCAL_DISK]
        case EntryKind.REFUSAL:
            return [*head, f"{_KIND} {entry.kind}", *_REFUSAL]
        case EntryKind.KERNEL:
            words = [f"../{entry.kernel}", *([_INITRD] if entry.initramfs else []), *entry.cmdline.split()]
            words += [_BOOTIF] if entry.bootif else []
            initrd = [f"initrd --name initramfs.img ../{entry.initramfs}{_OR_FAIL}"] if entry.initramfs else []
            return [*head, "imgfree", f"kernel {' '.join(words)}{_OR_FAIL}", *initrd, f"boot{_OR_FAIL}"]
        case _:
            assert_never(entry.kind)


def _entry(fields: Mapping[str, str]) -> MenuEntry:
    if _KIND in fields:
        return MenuEntry(fields["label"], fields.get("#", fields["label"]), kind=entry_kind(fields[_KIND]))
    kernel, *cmdline = fields["kernel"].removesuffix(_OR_FAIL.lstrip()).split() or [""]
    initramfs = fields.get("initrd", "").removesuffix(_OR_FAIL.lstrip()).split()[-1:] or [""]
    return MenuEntry(
        label=fields["label"],
        title=fields.get("#", fields["label"]),
        kernel=kernel.removeprefix("../"),
        initramfs=initramfs[0].removeprefix("../"),
        cmdline=" ".join(word for word in cmdline if word not in (_INITRD, _BOOTIF)),
        bootif=_BOOTIF in cmdline,
    )
