"""Entries of a boot menu that are no image's, and what boots on clients that nobody knows."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from builder.model.site.values import EntryTitle, SiteName, TftpPath
from builder.model.syntax import KernelArgument, key

# what menus call entries of their own: the client's disk, and the only one of clients that they have nothing for
LOCAL_DISK, REFUSED_ENTRY = "local-disk", "refused"


class Unknown(enum.StrEnum):
    """What clients boot that are in no list."""

    BOOT = "boot"
    REFUSE = "refuse"
    LOCAL_DISK = LOCAL_DISK


@dataclass(frozen=True, kw_only=True)
class SiteEntry:
    """An entry of the administrator's own, the same for every loader. Its files lie below boot/ of the store."""

    name: SiteName = key("what is typed at the prompt")
    title: EntryTitle | None = key("what menus show; left out: its name", None)
    kernel: TftpPath = key("the kernel, or another program that every loader starts as one")
    initrd: TftpPath | None = key("its initramfs; left out: none", None)
    cmdline: tuple[KernelArgument, ...] = key("its arguments; nothing is added to them", ())
