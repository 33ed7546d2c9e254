"""PXELINUX configuration and the kernel command line, pure text.

Sources: nfsroot= and ip= as initramfs-tools(7) documents them and scripts/nfs reads them (`nfsroot=auto` takes server
and path from DHCP option 17, root-path); the same as the `net` hook of Arch's mkinitcpio-nfs-utils reads them;
PXELINUX's file format from the syslinux wiki, CONFIGURATION FILE.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from builder.model.checks_arch import BOOTIF_FORM
from builder.model.manifest import Manifest
from builder.model.recipe import Generator, NfsVersion, RootMode

# the only root that the hook net and scripts/nfs of initramfs-tools can mount
_ROOT_OF_OTHERS = (RootMode.RW, NfsVersion.V3)
PXELINUX_DIRECTORY = "pxelinux.cfg"
KERNEL, INITRAMFS = "vmlinuz", "initramfs.img"
# where PXELINUX stops reading a kernel command line (COMMAND_LINE_SIZE of x86 is 2048 with the final NUL)
CMDLINE_BYTES = 2047


@dataclass(frozen=True)
class Entry:
    """One choice of the boot menu; paths are relative to the TFTP root.

    bootif: PXELINUX adds BOOTIF=, the network card that it came through (SYSAPPEND 2)
    """

    label: str
    title: str
    kernel: str
    initramfs: str
    cmdline: str
    bootif: bool = False


def root_arguments(manifest: Manifest, location: str | None) -> list[str]:
    """The arguments that name the root: `location` is SERVER:/path, None leaves both to DHCP option 17.

    With None no mount options can be given for the root that is not mounted by our scripts: scripts/nfs of
    initramfs-tools takes `auto` literally, and the net hook reads them from nfsroot= only.
    """
    first = ["rootfstype=nfs", "root=/dev/nfs"] if manifest.initramfs is Generator.MKINITCPIO else ["root=/dev/nfs"]
    if _is_mounted_by_us(manifest):
        return [*first, _nfsroot(manifest, location or "auto")]
    if manifest.initramfs is Generator.MKINITCPIO:
        return first if location is None else [*first, _mkinitcpio_nfsroot(manifest, location)]
    return [*first, "nfsroot=auto" if location is None else _nfsroot(manifest, location)]


def _is_mounted_by_us(manifest: Manifest) -> bool:
    return (manifest.root.mode, manifest.root.version) != _ROOT_OF_OTHERS


def _mkinitcpio_nfsroot(manifest: Manifest, location: str) -> str:
    """Of nfsmount in mkinitcpio-nfs-utils, whose word for the version is v3; our hook knows it too."""
    return ",".join([f"nfsroot={location}", f"v{manifest.root.version}", *manifest.root.options])


def _nfsroot(manifest: Manifest, location: str) -> str:
    # klibc's nfsmount: v3 is its default and its last; the kernel's own list form `,v3,` is not understood by all
    options = [f"vers={manifest.root.version}", *manifest.root.options]
    return ",".join([f"nfsroot={location}", *options])


def kernel_cmdline(manifest: Manifest, location: str | None) -> str:
    """The whole command line of an image whose root is at `location`."""
    mode = "rw" if manifest.root.mode is RootMode.RW else "ro"
    words = [*root_arguments(manifest, location), *manifest.cmdline]
    if mode not in words:
        words.append(mode)
    return " ".join(words)


def image_entry(manifest: Manifest, location: str | None, directory: str = "", more: Sequence[str] = ()) -> Entry:
    """The choice that boots an image whose files lie in `directory` (ending in /) of the TFTP root.

    `more` are further kernel arguments.
    """
    cmdline = " ".join([kernel_cmdline(manifest, location), *more])
    return Entry(
        manifest.image,
        manifest.image,
        directory + KERNEL,
        directory + INITRAMFS,
        cmdline,
        bootif=wants_bootif(manifest),
    )


def pxelinux_config(entries: Sequence[Entry], *, timeout_seconds: int = 0) -> str:
    """pxelinux.cfg/default: the first entry boots by itself, after `timeout_seconds` if there are several."""
    lines = [f"DEFAULT {entries[0].label}", f"PROMPT {1 if len(entries) > 1 else 0}", f"TIMEOUT {timeout_seconds * 10}"]
    for entry in entries:
        lines += entry_lines(entry)
    return "\n".join(lines) + "\n"


def entry_lines(entry: Entry) -> list[str]:
    """One choice as PXELINUX reads it."""
    return [
        "",
        f"LABEL {entry.label}",
        f"  MENU LABEL {entry.title}",
        f"  KERNEL {entry.kernel}",
        f"  INITRD {entry.initramfs}",
        f"  APPEND {entry.cmdline}",
        *(["  SYSAPPEND 2"] if entry.bootif else []),
    ]


def wants_bootif(manifest: Manifest) -> bool:
    """Whether PXELINUX should say which card it came through: the net hook appends it to `ip=:::` as the device.

    With any other ip= the pair makes no sense to ipconfig (`dhcp::eth0`), and the root is not mounted. A root that the
    net hook cannot mount is mounted by our hook, which understands both.
    """
    is_read = _is_mounted_by_us(manifest) or BOOTIF_FORM in manifest.cmdline
    return manifest.initramfs is Generator.MKINITCPIO and is_read


def bundle_config(manifest: Manifest) -> str:
    """The configuration inside the bundle: works untarred into any TFTP root, with the root from DHCP.

    It must not name the version, which is derived from it. Everything that a deploy writes into menus is in it, if only
    as a comment: two versions that boot differently are never of one digest.
    """
    root = manifest.root
    options = ",".join([f"vers={root.version}", *root.options])
    note = f"# {manifest.image}: root {root.mode}, {options}\n"
    return note + pxelinux_config([image_entry(manifest, None)])
