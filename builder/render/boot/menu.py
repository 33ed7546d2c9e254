"""The boot menu of a store, pure text: every kept version of every image, and a file for each client with a pin.

PXELINUX asks for pxelinux.cfg/01-MAC before pxelinux.cfg/default (syslinux wiki, PXELINUX). Every path names its
version, so a client that has read its configuration finishes that version whatever is activated meanwhile.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from builder.model.generation import BootName, Generation
from builder.model.manifest import Manifest
from builder.model.site import Site, SiteClient
from builder.render.boot.pxe import PXELINUX_DIRECTORY, Entry, entry_lines, image_entry

DEFAULT_FILE = f"{PXELINUX_DIRECTORY}/default"


@dataclass(frozen=True)
class Bootable:
    """A version with a set of boot files, and where clients find its root: a path on the server."""

    manifest: Manifest
    boot: BootName
    root: str

    @property
    def label(self) -> str:
        """What is typed at the boot prompt."""
        return f"{self.manifest.image}/{self.boot}"


def menus(generation: Generation, kept: Sequence[Bootable], site: Site) -> dict[str, str]:
    """The files that PXELINUX reads, by their paths from the TFTP root."""
    entries = [_entry(bootable, site) for bootable in kept]
    active = {image: f"{image}/{name}" for image, name in generation.active.items()}
    files = {DEFAULT_FILE: menu(entries, active[generation.default], active, site.menu_seconds)}
    for client in site.clients:
        label = pinned_label(client, kept, active)
        if label is not None:
            name = "01-" + client.mac.lower().replace(":", "-")
            files[f"{PXELINUX_DIRECTORY}/{name}"] = menu(entries, label, active, site.menu_seconds)
    return files


def pinned_label(client: SiteClient, kept: Sequence[Bootable], active: dict[str, str]) -> str | None:
    """The label that a client's pin leads to; None without a pin, or where the store has no such version."""
    if client.image is None:
        return None
    if client.version is None:
        return active.get(client.image)
    # of a version with refreshed kernels: the newest that was taken
    fitting = [b for b in kept if b.manifest.image == client.image and b.boot.version == client.version]
    return max(fitting, key=lambda bootable: bootable.boot.refresh).label if fitting else None


def menu(entries: Sequence[Entry], default: str, active: dict[str, str], seconds: int) -> str:
    """One configuration: `default` boots after `seconds`; images' names boot what is active of them.

    Without seconds it boots at once; holding Shift shows the prompt (syslinux wiki, PROMPT).
    """
    lines = ["# written by diskless at each deploy, rollback and prune", f"DEFAULT {default}"]
    lines += [f"PROMPT {1 if seconds else 0}", f"TIMEOUT {seconds * 10}"]
    if seconds:
        lines += ["SAY", *(f"SAY   {entry.label}" for entry in entries), f"SAY Enter boots {default}."]
    by_label = {entry.label: entry for entry in entries}
    shortcuts = [dataclasses.replace(by_label[label], label=image) for image, label in sorted(active.items())]
    for entry in (*shortcuts, *entries):
        lines += entry_lines(entry)
    return "\n".join(lines) + "\n"


def _entry(bootable: Bootable, site: Site) -> Entry:
    manifest = bootable.manifest
    options = (*manifest.root.options, *site.nfs_options)
    configured = dataclasses.replace(manifest, root=dataclasses.replace(manifest.root, options=options))
    entry = image_entry(configured, f"{site.server}:{bootable.root}", f"{bootable.label}/", more=site.cmdline)
    return dataclasses.replace(entry, label=bootable.label, title=bootable.label)
