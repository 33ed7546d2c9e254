"""PXELINUX configuration and the kernel command line, pure text.

Sources: nfsroot= and ip= as initramfs-tools(7) documents them and scripts/nfs reads them (`nfsroot=auto` takes server
and path from DHCP option 17, root-path); PXELINUX's file format from the syslinux wiki, CONFIGURATION FILE.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from builder.model.manifest import Manifest

KERNEL, INITRAMFS = "vmlinuz", "initramfs.img"
# where PXELINUX stops reading a kernel command line (COMMAND_LINE_SIZE of x86 is 2048 with the final NUL)
CMDLINE_BYTES = 2047


@dataclass(frozen=True)
class Entry:
    """One choice of the boot menu; paths are relative to the TFTP root."""

    label: str
    title: str
    kernel: str
    initramfs: str
    cmdline: str


def nfsroot(manifest: Manifest, location: str | None) -> str:
    """The argument that names the root: `location` is SERVER:/path, None leaves both to DHCP option 17.

    With None no mount options can be given: scripts/nfs of initramfs-tools takes `auto` literally.
    """
    if location is None:
        return "nfsroot=auto"
    # klibc's nfsmount: v3 is its default and its last; the kernel's own list form `,v3,` is not understood by all
    options = [f"vers={manifest.root.version}", *manifest.root.options]
    return ",".join([f"nfsroot={location}", *options])


def kernel_cmdline(manifest: Manifest, location: str | None) -> str:
    """The whole command line of an image whose root is at `location`."""
    mode = "rw" if manifest.root.mode == "rw" else "ro"
    words = ["root=/dev/nfs", nfsroot(manifest, location), *manifest.cmdline]
    if mode not in words:
        words.append(mode)
    return " ".join(words)


def pxelinux_config(entries: Sequence[Entry], *, timeout_seconds: int = 0) -> str:
    """pxelinux.cfg/default: the first entry boots by itself, after `timeout_seconds` if there are several."""
    lines = [f"DEFAULT {entries[0].label}", f"PROMPT {1 if len(entries) > 1 else 0}", f"TIMEOUT {timeout_seconds * 10}"]
    for entry in entries:
        lines += [
            "",
            f"LABEL {entry.label}",
            f"  MENU LABEL {entry.title}",
            f"  KERNEL {entry.kernel}",
            f"  INITRD {entry.initramfs}",
            f"  APPEND {entry.cmdline}",
        ]
    return "\n".join(lines) + "\n"


def bundle_config(manifest: Manifest) -> str:
    """The configuration inside the bundle: works untarred into any TFTP root, with the root from DHCP.

    It must not name the version, which is derived from it.
    """
    entry = Entry(manifest.image, manifest.image, KERNEL, INITRAMFS, kernel_cmdline(manifest, None))
    return pxelinux_config([entry])
