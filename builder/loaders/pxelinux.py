"""PXELINUX, of the syslinux project: BIOS clients.

Source: the syslinux wiki, PXELINUX (pxelinux.cfg/01-MAC is asked for before pxelinux.cfg/default) and CONFIGURATION
FILE; the packages pxelinux and syslinux-common of Debian, syslinux of Arch Linux.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import assert_never

from builder.loaders.base import GROUP_FILE, NO_GROUPS, BootFile, ClientArchitecture, LoaderPackages
from builder.model.menu import EntryKind, Menu, MenuEntry
from builder.model.recipe import Architecture, DistributionName, LoaderName

_PCS: tuple[Architecture, ...] = (Architecture.X86_64, Architecture.I686)
_FILES = ("pxelinux.0", "lpxelinux.0", "ldlinux.c32")
_PACKAGES: Mapping[DistributionName, LoaderPackages] = {
    DistributionName.DEBIAN: {
        "pxelinux": {"pxelinux.0": "usr/lib/PXELINUX/pxelinux.0", "lpxelinux.0": "usr/lib/PXELINUX/lpxelinux.0"},
        "syslinux-common": {"ldlinux.c32": "usr/lib/syslinux/modules/bios/ldlinux.c32"},
    },
    DistributionName.ARCH: {"syslinux": {name: f"usr/lib/syslinux/bios/{name}" for name in _FILES}},
}
# LOCALBOOT: the first disk, or a report of failure, after which firmware goes on with its next device
_FIRST_DISK, _BACK_TO_FIRMWARE = "0", "-1"


class Pxelinux:
    """Two loaders, pxelinux.0 for TFTP and lpxelinux.0 that knows HTTP too, and the module that both load."""

    name: LoaderName = LoaderName.PXELINUX
    directory: str = "pxelinux.cfg"
    files: tuple[str, ...] = _FILES
    with_generation: bool = False  # a client may be between a loader and its module
    beside_proxy: bool = True
    one_build: bool = True
    tells_prefixes: bool = False  # it knows files of whole addresses
    boot_files: Mapping[ClientArchitecture, BootFile] = {
        ClientArchitecture.X86_BIOS: BootFile(tftp="pxelinux.0", http="lpxelinux.0")
    }
    cmdline_bytes: int = 2047  # COMMAND_LINE_SIZE of x86 is 2048 with the final NUL
    menu_seconds: int = 3599  # TIMEOUT counts tenths of a second, up to 35996

    def packages(self, distribution: DistributionName, architecture: Architecture) -> LoaderPackages:
        """PCs have a BIOS."""
        return _PACKAGES[distribution] if architecture in _PCS else {}

    def menu_file(self, client: str | None, group: str | None = None) -> str:
        """01 is the hardware type of Ethernet (ARP, RFC 826)."""
        if group is not None:
            return GROUP_FILE.format(group)
        return "default" if client is None else "01-" + client.lower().replace(":", "-")

    def render(self, menu: Menu, clients: Sequence[str] = (), groups: Mapping[str, str] = NO_GROUPS) -> str:
        """Without seconds the default boots at once; holding Shift shows the prompt (syslinux wiki, PROMPT).

        It asks for the files of `clients` itself, and for a group's where DHCP names it.
        """
        lines = [f"# {menu.note}"] if menu.note else []
        lines += [f"DEFAULT {menu.default}", f"PROMPT {1 if menu.seconds else 0}", f"TIMEOUT {menu.seconds * 10}"]
        if menu.seconds and menu.listed:
            lines += ["SAY", *(f"SAY   {label}" for label in menu.listed), f"SAY Enter boots {menu.default}."]
        if any(entry.kind is EntryKind.REFUSAL for entry in menu.entries):
            lines.append("SAY diskless: this machine is in no list of this server")
        for entry in menu.entries:
            lines += _entry_lines(entry)
        return "\n".join(lines) + "\n"

    def parse(self, text: str) -> tuple[MenuEntry, ...]:
        """Keywords of any case, KERNEL also as LINUX."""
        entries: list[dict[str, str]] = []
        for line in text.splitlines():
            keyword, *values = line.split(maxsplit=1) or [""]
            value = values[0].strip() if values else ""
            if keyword.upper() == "LABEL":
                entries.append({"LABEL": value})
            elif entries:
                entries[-1][keyword.upper()] = value
        return tuple(_entry(fields) for fields in entries)

    def unfit_word(self, cmdline: str) -> str | None:
        """It takes the line as it is."""
        return None


def _entry_lines(entry: MenuEntry) -> list[str]:
    head = ["", f"LABEL {entry.label}", f"  MENU LABEL {entry.title}"]
    match entry.kind:
        case EntryKind.LOCAL_DISK:
            return [*head, f"  LOCALBOOT {_FIRST_DISK}"]
        case EntryKind.REFUSAL:
            return [*head, f"  LOCALBOOT {_BACK_TO_FIRMWARE}"]
        case EntryKind.KERNEL:
            # by some suffixes (.bin, .0, .img) KERNEL takes a file for another kind of program
            keyword = "LINUX" if "." in entry.kernel.rpartition("/")[2] else "KERNEL"
            return [
                *head,
                f"  {keyword} {entry.kernel}",
                *([f"  INITRD {entry.initramfs}"] if entry.initramfs else []),
                f"  APPEND {entry.cmdline}".rstrip(),
                *(["  SYSAPPEND 2"] if entry.bootif else []),
            ]
        case _:
            assert_never(entry.kind)


def _entry(fields: Mapping[str, str]) -> MenuEntry:
    kind = EntryKind.KERNEL
    if "LOCALBOOT" in fields:
        kind = EntryKind.REFUSAL if fields["LOCALBOOT"] == _BACK_TO_FIRMWARE else EntryKind.LOCAL_DISK
    return MenuEntry(
        label=fields["LABEL"],
        title=fields.get("MENU", "").removeprefix("LABEL ") or fields["LABEL"],
        kernel=fields.get("KERNEL", fields.get("LINUX", "")),
        initramfs=fields.get("INITRD", ""),
        cmdline=fields.get("APPEND", ""),
        bootif=fields.get("SYSAPPEND") == "2",
        kind=kind,
    )
