"""GRUB, signed by the distribution, behind the shim that its Secure Boot needs: UEFI clients.

Firmware loads shim, shim loads grubx64.efi and checks it, GRUB asks shim to check kernels. With Secure Boot off the
same files boot any kernel. They lie at the top of the TFTP root: shim takes its own directory from the file field of
the DHCP answer only, which is empty where a server sends option 67. GRUB's network image reads /grub/grub.cfg.

Sources: the GRUB manual (menuentry, net_default_mac, UEFI secure boot and lockdown); shim's README; the packages
shim-signed and grub-efi-amd64-signed of Debian, and their -arm64.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import assert_never

from builder.loaders.base import GROUP_FILE, NO_GROUPS, BootFile, ClientArchitecture, LoaderPackages
from builder.model.menu import EntryKind, Menu, MenuEntry, entry_kind
from builder.model.recipe import Architecture, DistributionName, LoaderName

# the suffixes of UEFI and of Debian
_SUFFIXES = {Architecture.X86_64: ("x64", "amd64", "x86_64-efi-signed")}
# whose keys the shim of a distribution has in it, by a name in the certificates of kernels
KERNEL_SIGNERS = {DistributionName.DEBIAN: "Debian Secure Boot"}
_SECURE = 'if [ "$lockdown" != y ]; then'
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
_ESCAPED = "\\'\""  # characters that GRUB puts a backslash before in a kernel command line
_REFUSED = "diskless: nobody whom this loader trusts signed the kernel of {}: switch Secure Boot off"
_BOOTIF = "BOOTIF=01-$bootif"
# GRUB says BOOT_IMAGE=(http,ADDRESS)/IMAGE/VERSION/vmlinuz on the same line
_BOOT_IMAGE = 200
# what an entry is that boots no kernel, for who reads the menu
_KIND = "# kind:"
# what a distribution's installer leaves for firmware that has forgotten its entries; else firmware's next device
_LOCAL_DISK = (
    "if search --no-floppy --file --set=root /EFI/BOOT/BOOTX64.EFI; then",
    "    chainloader /EFI/BOOT/BOOTX64.EFI",
    "    boot",
    "fi",
    "exit",
)
_REFUSAL = ('echo "diskless: $net_default_mac is in no list of this server"', "sleep --interruptible 10", "exit")
_MAC_TO_DASHES = (
    "regexp --set=1:a --set=2:b --set=3:c --set=4:d --set=5:e --set=6:f"
    ' "(..):(..):(..):(..):(..):(..)" "$net_default_mac"',
    'set bootif="$a-$b-$c-$d-$e-$f"',
)


def _files(architecture: Architecture) -> tuple[str, str, str]:
    suffix = _SUFFIXES[architecture][0]
    return f"shim{suffix}.efi", f"grub{suffix}.efi", f"mm{suffix}.efi"


# of its files, the one that is GRUB
GRUB_FILES = tuple(_files(architecture)[1] for architecture in _SUFFIXES)


def _debian(architecture: Architecture) -> LoaderPackages:
    suffix, debian, directory = _SUFFIXES[architecture]
    shim, grub, keys = _files(architecture)
    return {
        "shim-signed": {shim: f"usr/lib/shim/shim{suffix}.efi.signed"},
        f"shim-helpers-{debian}-signed": {keys: f"usr/lib/shim/mm{suffix}.efi.signed"},
        f"grub-efi-{debian}-signed": {grub: f"usr/lib/grub/{directory}/grubnet{suffix}.efi.signed"},
    }


def _boot_file(architecture: Architecture) -> BootFile:
    shim = _files(architecture)[0]
    return BootFile(tftp=shim, http=shim)


class Grub:
    """Shim, GRUB's network image, and shim's manager of machine owner keys."""

    name: LoaderName = LoaderName.GRUB
    directory: str = "grub"
    files: tuple[str, ...] = tuple(name for architecture in _SUFFIXES for name in _files(architecture))
    with_generation: bool = True
    beside_proxy: bool = False  # seen with 2.06: it asks the router for its menu
    one_build: bool = False
    tells_prefixes: bool = True
    boot_files: Mapping[ClientArchitecture, BootFile] = {
        ClientArchitecture.X64_UEFI: _boot_file(Architecture.X86_64),
        ClientArchitecture.X64_UEFI_OLD: _boot_file(Architecture.X86_64),
        ClientArchitecture.X64_UEFI_HTTP: _boot_file(Architecture.X86_64),
    }
    cmdline_bytes: int = 2047 - _BOOT_IMAGE
    menu_seconds: int = 3599  # it counts in 32 bits; as PXELINUX does, so that one site fits both

    def packages(self, distribution: DistributionName, architecture: Architecture) -> LoaderPackages:
        """Debian signs its own; Arch Linux signs none, and its users make the image that they need."""
        if distribution is not DistributionName.DEBIAN or architecture not in _SUFFIXES:
            return {}
        return _debian(architecture)

    def menu_file(self, client: str | None, group: str | None = None) -> str:
        """01 is the hardware type of Ethernet, as PXELINUX has it."""
        if group is not None:
            return f"{GROUP_FILE.format(group)}.cfg"
        return "grub.cfg" if client is None else f"01-{client.lower().replace(':', '-')}.cfg"

    def render(self, menu: Menu, clients: Sequence[str] = (), groups: Mapping[str, str] = NO_GROUPS) -> str:
        """GRUB asks for no client's own file: the first file sends each there, then those of a group to its own.

        A test for a file is always false over TFTP, so only those that are known to have one are sent.
        """
        lines = [f"# {menu.note}"] if menu.note else []
        for mac in clients:
            own = f"configfile $prefix/{self.menu_file(mac)}"
            lines.append(f'if [ "$net_default_mac" = {mac.lower()} ]; then {own}; fi')
        for prefix, group in groups.items():
            own = f"configfile $prefix/{self.menu_file(None, group)}"
            others = "".join(f' -a "$net_default_mac" != {mac}' for mac in _beginning(prefix, clients))
            condition = f'[ "$group" = y{others} ]'
            lines += ["set group=n", f'if regexp "^{prefix}:" "$net_default_mac"; then set group=y; fi']
            lines.append(f"if {condition}; then {own}; fi")
        if menu.web_server:
            lines += ["# kernels come over HTTP, much faster than over TFTP", f"set root=(http,{menu.web_server})"]
        if any(entry.bootif for entry in menu.entries):
            lines += _MAC_TO_DASHES
        lines += [f"set default={_quoted(menu.default)}", f"set timeout={menu.seconds}"]
        for entry in menu.entries:
            lines += ["", *(_entry_lines(entry) if entry.signed else _guarded(entry, menu))]
        return "\n".join(lines) + "\n"

    def parse(self, text: str) -> tuple[MenuEntry, ...]:
        """`menuentry` with what `linux` and `initrd` say in it."""
        entries: list[MenuEntry] = []
        fields: dict[str, list[str]] = {}
        guarded = False
        for line in text.splitlines():
            words = _words(line)
            if line.strip() in (_SECURE, "else", "fi"):
                guarded = line.strip() == _SECURE
            elif words[:1] == ["menuentry"]:
                fields = {"menuentry": words[1:]}
            elif fields and words[:1] == ["}"]:
                entries += [_entry(fields, signed=not guarded)] if {"linux", _KIND} & fields.keys() else []
                fields = {}
            elif fields and words:
                word = line.strip()
                if word.startswith(_KIND):
                    fields[_KIND] = [word.removeprefix(_KIND).strip()]
                fields[words[0].removesuffix("efi")] = words[1:]
        return tuple(entries)

    def unfit_word(self, cmdline: str) -> str | None:
        """It takes no backslash and no apostrophe to the kernel as it is."""
        return next((word for word in cmdline.split() if any(c in _ESCAPED for c in word)), None)


def _beginning(prefix: str, clients: Sequence[str]) -> list[str]:
    """The clients of a prefix that have menus of their own."""
    return [mac.lower() for mac in clients if mac.lower().startswith(f"{prefix}:")]


def _entry_lines(entry: MenuEntry) -> list[str]:
    head = f"menuentry {_quoted(entry.title)} --id {_quoted(entry.label)} {{"
    match entry.kind:
        case EntryKind.LOCAL_DISK:
            return [head, f"    {_KIND} {entry.kind}", *(f"    {line}" for line in _LOCAL_DISK), "}"]
        case EntryKind.REFUSAL:
            return [head, f"    {_KIND} {entry.kind}", *(f"    {line}" for line in _REFUSAL), "}"]
        case EntryKind.KERNEL:
            words = [f"/{entry.kernel}", *map(_quoted, entry.cmdline.split()), *([_BOOTIF] if entry.bootif else [])]
            initrd = [f"    initrd /{entry.initramfs}"] if entry.initramfs else []
            return [head, f"    linux {' '.join(words)}", *initrd, "}"]
        case _:
            assert_never(entry.kind)


def _guarded(entry: MenuEntry, menu: Menu) -> list[str]:
    """An entry for machines without Secure Boot; with it, nothing else boots in the place of the default."""
    instead = []
    if entry.label == menu.default:
        instead = [
            "else",
            f"menuentry {_quoted(entry.title)} --id {_quoted(entry.label)} {{",
            f"    echo '{_REFUSED.format(entry.label)}'",
            "    sleep --interruptible 60",
            "    exit",
            "}",
        ]
    return [_SECURE, *_entry_lines(entry), *instead, "fi"]


def _quoted(word: str) -> str:
    """A word of GRUB's script; within apostrophes nothing has a meaning but them."""
    return word if _PLAIN.fullmatch(word) else "'" + word.replace("'", "'\\''") + "'"


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:  # an unfinished quotation, written by hand
        return line.split()


def _entry(fields: Mapping[str, list[str]], *, signed: bool) -> MenuEntry:
    title, *more = fields["menuentry"] or [""]
    kernel, *cmdline = fields.get("linux") or [""]
    label = more[more.index("--id") + 1] if "--id" in more[:-1] else title
    if _KIND in fields:
        return MenuEntry(label, title, kind=entry_kind(fields[_KIND][0]))
    return MenuEntry(
        label=label,
        title=title,
        kernel=kernel.removeprefix("/"),
        initramfs=(fields.get("initrd") or [""])[0].removeprefix("/"),
        cmdline=" ".join(word for word in cmdline if word != _BOOTIF),
        bootif=_BOOTIF in cmdline,
        signed=signed,
    )
