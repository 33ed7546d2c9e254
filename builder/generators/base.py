"""What every generator of an initramfs can do: the contract between recipes, menus, the boot lab and a generator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from builder.model.artifacts.manifest import Manifest, Mounter, NfsRoot
from builder.model.entry import TreeEntry
from builder.model.fault import Fault
from builder.model.recipe import GeneratorName, NfsVersion, Recipe, Root, RootMode

# interfaces are configured by these forms alone: with BOOTIF the hook appends `::DEVICE`, which fits `ip=:::` only
BOOTIF_FORM = "ip=:::"


@dataclass(frozen=True)
class ConsoleSigns:
    """What an initramfs writes to the console, as regular expressions; ^ and $ are those of a line.

    begun: it runs; root_mounted: it has mounted the root; retrying: a mount failed, and it tries again
    gave_up: it waits for somebody at its shell; no_init: the root has no init
    """

    begun: str | None
    root_mounted: str
    retrying: str | None
    gave_up: str
    no_init: str


class Generator(Protocol):
    """A generator of the initramfs.

    name: what recipes call it
    signs: what its images say
    """

    name: GeneratorName
    signs: ConsoleSigns

    def entries(self, recipe: Recipe) -> list[TreeEntry]:
        """The files that configure it, with the scripts that mount the recipe's root."""
        ...

    def arguments(self, recipe: Recipe) -> list[str]:
        """Kernel arguments that an image needs, where the recipe does not give others."""
        ...

    def lease_entries(self) -> list[TreeEntry]:
        """What keeps the answer of the boot's own DHCP request for the running system."""
        ...

    def mounter(self, recipe: Recipe) -> Mounter:
        """What mounts the recipe's root."""
        ...

    def root_arguments(self, root: NfsRoot, location: str | None) -> list[str]:
        """The kernel arguments that name the root: `location` is SERVER:/path, None leaves both to DHCP option 17."""
        ...

    def wants_bootif(self, manifest: Manifest) -> bool:
        """Whether the loader should say which card it came through (BOOTIF=)."""
        ...

    def contradictions(self, recipe: Recipe) -> Iterator[Fault]:
        """What cannot work of a recipe that uses it."""
        ...


def root_modules(root: Root) -> tuple[str, ...]:
    """The kernel modules that mounting `root` needs, whatever the network driver.

    That of NFSv3 is always there, so that a server's `vers=3` works for any image.
    """
    newer = ("nfsv4",) if root.nfs.version is not NfsVersion.V3 else ()
    return ("nfs", "nfsv3", *newer, *(("overlay",) if root.mode is RootMode.OVERLAY else ()))


def nfsroot(root: NfsRoot, location: str) -> str:
    """Nfsroot= as klibc's nfsmount and our own scripts read it.

    v3 is nfsmount's default and its last; the kernel's own list form `,v3,` is not understood by all.
    """
    return ",".join([f"nfsroot={location}", f"vers={root.version}", *root.options])
