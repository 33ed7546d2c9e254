"""What makes the initial RAM file system: one dataclass a generator."""

from __future__ import annotations

from dataclasses import dataclass

from builder.model.recipe.choices import Compression, Drivers, GeneratorName
from builder.model.syntax import HookName, ModuleName, ProgramPath, key


@dataclass(frozen=True, kw_only=True)
class InitramfsTools:
    """The initial RAM file system, generated once with this configuration."""

    generator: GeneratorName = key(
        "what makes it: initramfs-tools or mkinitcpio",
        GeneratorName.INITRAMFS_TOOLS,
        allowed=(GeneratorName.INITRAMFS_TOOLS,),
    )
    drivers: Drivers = key("netboot: every network driver; list: only `modules`, small and fast", Drivers.NETBOOT)
    modules: tuple[ModuleName, ...] = key("further kernel modules", ())
    compression: Compression = key("how it is compressed", Compression.GZIP)


@dataclass(frozen=True, kw_only=True)
class Mkinitcpio:
    """The initial RAM file system of mkinitcpio.conf(5), generated once with this configuration."""

    generator: GeneratorName = key("what makes it: initramfs-tools or mkinitcpio", allowed=(GeneratorName.MKINITCPIO,))
    modules: tuple[ModuleName, ...] = key("further kernel modules; those of NFS are always in it", ())
    binaries: tuple[ProgramPath, ...] = key("programs, with the libraries they need", ())
    files: tuple[ProgramPath, ...] = key("files of the image that it also needs", ())
    hooks: tuple[HookName, ...] = key(
        "all hooks in their order; net (rw over NFSv3) or our diskless (any root) mounts the root",
        ("base", "udev", "modconf", "net"),
    )
    autodetect: bool = key("allow the hook autodetect, which knows the build host's hardware only", False)
    compression: Compression = key("how it is compressed", Compression.ZSTD)


Initramfs = InitramfsTools | Mkinitcpio
