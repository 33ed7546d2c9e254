"""Configuration of the initramfs generators, initramfs.conf(5)."""

from __future__ import annotations

from builder.model.entry import TreeEntry, TreeFile
from builder.model.recipe import Initramfs

# what a root on NFSv3 needs, whatever the network driver; the driver of most virtual machines costs nothing
_NFS_MODULES = ("nfs", "nfsv3")


def initramfs_entries(initramfs: Initramfs) -> list[TreeEntry]:
    """A drop-in that wins over initramfs.conf, and the list of modules."""
    config = f"BOOT=nfs\nMODULES={initramfs.drivers}\nCOMPRESS={initramfs.compression}\n"
    modules = "".join(f"{name}\n" for name in dict.fromkeys((*_NFS_MODULES, *initramfs.modules)))
    head = "# written by diskless from the recipe's initramfs\n"
    return [
        TreeFile("/etc/initramfs-tools/conf.d/diskless.conf", (head + config).encode()),
        TreeFile("/etc/initramfs-tools/modules", (head + modules).encode()),
    ]
