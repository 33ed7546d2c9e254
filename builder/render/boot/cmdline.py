"""The kernel command line of an image, and its entry of a boot menu, pure text.

Sources: nfsroot= and ip= as initramfs-tools(7) documents them and scripts/nfs reads them (`nfsroot=auto` takes server
and path from DHCP option 17, root-path); the same as the `net` hook of Arch's mkinitcpio-nfs-utils reads them.
"""

from __future__ import annotations

from collections.abc import Sequence

from builder.model.checks_arch import BOOTIF_FORM
from builder.model.manifest import Manifest
from builder.model.menu import INITRAMFS, KERNEL, Menu, MenuEntry
from builder.model.recipe import Generator, NfsVersion, RootMode

# the only root that the hook net and scripts/nfs of initramfs-tools can mount
_ROOT_OF_OTHERS = (RootMode.RW, NfsVersion.V3)


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


def image_entry(manifest: Manifest, location: str | None, directory: str = "", more: Sequence[str] = ()) -> MenuEntry:
    """The choice that boots an image whose files lie in `directory` (ending in /) of the TFTP root.

    `more` are further kernel arguments.
    """
    cmdline = " ".join([kernel_cmdline(manifest, location), *more])
    return MenuEntry(
        manifest.image,
        manifest.image,
        directory + KERNEL,
        directory + INITRAMFS,
        cmdline,
        bootif=wants_bootif(manifest),
    )


def wants_bootif(manifest: Manifest) -> bool:
    """Whether the loader should say which card it came through: the net hook appends it to `ip=:::` as the device.

    With any other ip= the pair makes no sense to ipconfig (`dhcp::eth0`), and the root is not mounted. A root that the
    net hook cannot mount is mounted by our hook, which understands both.
    """
    is_read = _is_mounted_by_us(manifest) or BOOTIF_FORM in manifest.cmdline
    return manifest.initramfs is Generator.MKINITCPIO and is_read


def bundle_menu(manifest: Manifest) -> Menu:
    """The menu inside the bundle: works untarred into any TFTP root, with the root from DHCP.

    It must not name the version, which is derived from it. Everything that a deploy writes into menus is in it, if only
    as a comment: two versions that boot differently are never of one digest.
    """
    root = manifest.root
    options = ",".join([f"vers={root.version}", *root.options])
    entry = image_entry(manifest, None)
    return Menu((entry,), entry.label, note=f"{manifest.image}: root {root.mode}, {options}")
