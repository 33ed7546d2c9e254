"""A boot menu, as every loader is given it: which kernels there are, and which boots by itself."""

from __future__ import annotations

from dataclasses import dataclass

# a version's boot files, in its bundle and below the TFTP root
KERNEL, INITRAMFS = "vmlinuz", "initramfs.img"


@dataclass(frozen=True)
class MenuEntry:
    """One choice of a boot menu; paths are relative to the TFTP root.

    bootif: the loader adds BOOTIF=, the network card that it came through
    signed: whether a loader that checks signatures (UEFI Secure Boot) takes the kernel
    """

    label: str
    title: str
    kernel: str
    initramfs: str
    cmdline: str
    bootif: bool = False
    signed: bool = True


@dataclass(frozen=True)
class Menu:
    """What one client chooses from.

    entries: in their order; default: the label of the one that boots by itself
    seconds: how long the menu waits before that; 0 boots at once
    listed: the labels that a prompt names
    note: the comment that the text begins with
    client: the MAC address of the only client that gets it; None: every other client
    web_server: ADDRESS or ADDRESS:PORT of the web server that has the same files; None: there is none
    """

    entries: tuple[MenuEntry, ...]
    default: str
    seconds: int = 0
    listed: tuple[str, ...] = ()
    note: str = ""
    client: str | None = None
    web_server: str | None = None
