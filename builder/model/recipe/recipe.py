"""The recipe: one image, described as nouns. Order of the keys = order of building."""

from __future__ import annotations

from dataclasses import dataclass

from builder.model.recipe.boot import Boot, Root
from builder.model.recipe.distribution import ArchDistribution, DebianDistribution
from builder.model.recipe.initramfs import InitramfsTools, Mkinitcpio
from builder.model.recipe.network import Network
from builder.model.recipe.script import Script
from builder.model.recipe.system import File, Filesystem, System
from builder.model.syntax import ImageName, PackageRequest, key, requested_package


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One image."""

    schema: int = key("the version of this format: 1", allowed=(1,))
    image: ImageName = key("the name the image is deployed under")
    distribution: DebianDistribution | ArchDistribution = key("where the packages come from")
    packages: tuple[PackageRequest, ...] = key(
        "the packages (Arch: also groups) to install, besides the essential ones; Debian: NAME/SUITE takes one from "
        "that suite, such as backports, NAME=VERSION that version"
    )
    system: System = key("name, time, language, services", System)
    files: tuple[File, ...] = key("files of your own, written last", ())
    scripts: tuple[Script, ...] = key(
        "programs of your own, run in this order inside the image, without network, after everything is written, and "
        "again when something they are given has changed; "
        "each is the path of a file beside the recipe, or keys",
        (),
    )
    filesystems: tuple[Filesystem, ...] = key("the lines of /etc/fstab", ())
    network: Network = key("who owns the boot interface once the system runs")
    initramfs: InitramfsTools | Mkinitcpio = key("the initial RAM file system", InitramfsTools)
    root: Root = key("how the root is mounted", Root)
    boot: Boot = key("loaders and kernel arguments", Boot)

    @property
    def package_names(self) -> tuple[str, ...]:
        """The packages by their names alone, whatever suite or version they are asked from."""
        return tuple(map(requested_package, self.packages))
