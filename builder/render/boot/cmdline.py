"""The kernel command line of an image, and its entry of a boot menu, pure text."""

from __future__ import annotations

from collections.abc import Sequence

from builder.generators.table import generator_of
from builder.model.artifacts.manifest import Manifest
from builder.model.menu import INITRAMFS, KERNEL, Menu, MenuEntry
from builder.model.recipe import RootMode


def kernel_cmdline(manifest: Manifest, location: str | None) -> str:
    """The whole command line of an image whose root is at `location`."""
    mode = "rw" if manifest.root.mode is RootMode.RW else "ro"
    words = [*generator_of(manifest).root_arguments(manifest.root, location), *manifest.cmdline]
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
        bootif=generator_of(manifest).wants_bootif(manifest),
    )


def bundle_menu(manifest: Manifest) -> Menu:
    """The menu inside the bundle: works untarred into any TFTP root, with the root from DHCP.

    It must not name the version, which is derived from it. Everything that a deploy writes into menus is in it, if only
    as a comment: two versions that boot differently are never of one digest.
    """
    root = manifest.root
    options = ",".join([f"vers={root.version}", *root.options])
    entry = image_entry(manifest, None)
    return Menu((entry,), entry.label, note=f"{manifest.image}: root {root.mode}, {options}")
