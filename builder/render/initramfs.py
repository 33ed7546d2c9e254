"""Configuration of the initramfs generators, initramfs.conf(5), initramfs-tools(7)."""

from __future__ import annotations

from builder.model.entry import TreeEntry, TreeFile
from builder.model.recipe import Initramfs

# what a root on NFSv3 needs, whatever the network driver; the driver of most virtual machines costs nothing
_NFS_MODULES = ("nfs", "nfsv3")

# A link negotiates for seconds after it is switched on. ipconfig sends its first request at once and the next one ten
# seconds later (klibc 2.0.12), so that without this every boot waits those ten seconds.
_AWAIT_LINK = """\
#!/bin/sh
# written by diskless: switches the network on and waits, at most five seconds, until one link is up
case $1 in prereqs) exit 0 ;; esac
waited=0
while [ $waited -lt 50 ]; do
	for device in /sys/class/net/*; do
		[ "${device##*/}" = lo ] && continue
		read -r flags < "$device/flags" || continue
		[ $((flags & 1)) = 1 ] || echo $((flags | 1)) > "$device/flags"
		carrier=0
		read -r carrier < "$device/carrier"
		[ "$carrier" = 1 ] && exit 0
	done 2>/dev/null
	sleep 0.1
	waited=$((waited + 1))
done
"""


def initramfs_entries(initramfs: Initramfs) -> list[TreeEntry]:
    """A drop-in that wins over initramfs.conf, and the list of modules."""
    config = f"BOOT=nfs\nMODULES={initramfs.drivers}\nCOMPRESS={initramfs.compression}\n"
    modules = "".join(f"{name}\n" for name in dict.fromkeys((*_NFS_MODULES, *initramfs.modules)))
    head = "# written by diskless from the recipe's initramfs\n"
    return [
        TreeFile("/etc/initramfs-tools/conf.d/diskless.conf", (head + config).encode()),
        TreeFile("/etc/initramfs-tools/modules", (head + modules).encode()),
        TreeFile("/etc/initramfs-tools/scripts/nfs-premount/diskless-link", _AWAIT_LINK.encode(), 0o755),
    ]
