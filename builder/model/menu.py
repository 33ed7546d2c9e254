"""A boot menu, as every loader is given it: which kernels there are, and which boots by itself."""

from __future__ import annotations

import enum
from dataclasses import dataclass

# a version's boot files, in its bundle and below the TFTP root
KERNEL, INITRAMFS = "vmlinuz", "initramfs.img"


class EntryKind(enum.StrEnum):
    """What an entry does.

    KERNEL: boots a kernel of the TFTP root; LOCAL_DISK: the client's own disk, or what its firmware has next
    REFUSAL: says that the client is in no list, and gives it back to its firmware
    """

    KERNEL = "kernel"
    LOCAL_DISK = "local-disk"
    REFUSAL = "refusal"


def entry_kind(text: str) -> EntryKind:
    """What a menu says of an entry that boots no kernel; what it does not know is a refusal, edited by hand."""
    return next((kind for kind in EntryKind if kind.value == text), EntryKind.REFUSAL)


@dataclass(frozen=True)
class MenuEntry:
    """One choice of a boot menu; paths are relative to the TFTP root, and empty where there is none.

    bootif: the loader adds BOOTIF=, the network card that it came through
    signed: whether a loader that checks signatures (UEFI Secure Boot) takes the kernel
    """

    label: str
    title: str
    kernel: str = ""
    initramfs: str = ""
    cmdline: str = ""
    bootif: bool = False
    signed: bool = True
    kind: EntryKind = EntryKind.KERNEL

    @property
    def files(self) -> tuple[str, ...]:
        """What it names below the TFTP root."""
        return tuple(filter(None, (self.kernel, self.initramfs)))


def local_disk_entry(label: str) -> MenuEntry:
    """The entry that boots the client's own disk."""
    return MenuEntry(label, label, kind=EntryKind.LOCAL_DISK)


def refusal_entry(label: str) -> MenuEntry:
    """The entry for clients that are in no list."""
    return MenuEntry(label, label, kind=EntryKind.REFUSAL)


@dataclass(frozen=True)
class Menu:
    """What one client chooses from.

    entries: in their order; default: the label of the one that boots by itself
    seconds: how long the menu waits before that; 0 boots at once
    listed: the labels that a prompt names
    note: the comment that the text begins with
    client: the MAC address of the only client that gets it; None: every other client
    group: the name of the group that gets it, whose clients' MAC addresses begin with one of `prefixes`
    web_server: ADDRESS or ADDRESS:PORT of the web server that has the same files; None: there is none
    """

    entries: tuple[MenuEntry, ...]
    default: str
    seconds: int = 0
    listed: tuple[str, ...] = ()
    note: str = ""
    client: str | None = None
    group: str | None = None
    prefixes: tuple[str, ...] = ()
    web_server: str | None = None
