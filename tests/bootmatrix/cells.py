"""Which cells the matrix has, and why the others do not exist: by what the product's own tables say."""

from __future__ import annotations

import fnmatch
import itertools
from dataclasses import dataclass
from typing import Any

from builder.bootlab.machine.firmware import Firmware
from builder.loaders.grub import KERNEL_SIGNERS
from builder.loaders.table import LOADERS, available
from builder.model.recipe import Architecture, DistributionName, LoaderName, NfsVersion, RootMode


@dataclass(frozen=True)
class Way:
    """From firmware to kernel. loader: None: what the system has for firmware that boots over HTTP"""

    name: str
    firmware: Firmware
    loader: LoaderName | None


@dataclass(frozen=True)
class System:
    """What is booted. suite: of Debian; None: the tests' own repository in the shape of Arch Linux

    http_loader: what goes on from UEFI's HTTP boot: GRUB where its signed image knows HTTP, since 2.12
    """

    name: str
    distribution: DistributionName
    suite: str | None
    http_loader: LoaderName


@dataclass(frozen=True)
class Root:
    """How a client mounts its root."""

    name: str
    mode: RootMode
    version: NfsVersion

    @property
    def key(self) -> dict[str, Any]:
        """`root` of a recipe."""
        return {"mode": self.mode.value, "nfs": {"version": self.version.value}}


WAYS = (
    Way("bios-pxelinux", Firmware.BIOS, LoaderName.PXELINUX),
    Way("bios-ipxe", Firmware.BIOS, LoaderName.IPXE),
    Way("uefi-grub", Firmware.UEFI, LoaderName.GRUB),
    Way("uefi-secure-grub", Firmware.UEFI_SECURE, LoaderName.GRUB),
    Way("uefi-ipxe", Firmware.UEFI, LoaderName.IPXE),
    Way("uefi-http", Firmware.UEFI_HTTP, None),
)
SYSTEMS = (
    System("debian-12", DistributionName.DEBIAN, "bookworm", LoaderName.IPXE),
    System("debian-13", DistributionName.DEBIAN, "trixie", LoaderName.GRUB),
    System("arch-shaped", DistributionName.ARCH, None, LoaderName.IPXE),
)
ROOTS = (Root("nfs3-rw", RootMode.RW, NfsVersion.V3), Root("nfs4.2-overlay", RootMode.OVERLAY, NfsVersion.V4_2))


@dataclass(frozen=True)
class MatrixCell:
    """One boot."""

    way: Way
    system: System
    root: Root

    @property
    def name(self) -> str:
        """As CELLS= takes it."""
        return f"{self.way.name}/{self.system.name}/{self.root.name}"

    @property
    def image(self) -> str:
        """The image that it boots; cells share them."""
        return f"{self.system.name}-{self.root.name}"

    @property
    def loader(self) -> LoaderName:
        """The boot loader that the guest gets."""
        return self.way.loader or self.system.http_loader


CELLS = tuple(itertools.starmap(MatrixCell, itertools.product(WAYS, SYSTEMS, ROOTS)))


def why_missing(cell: MatrixCell) -> str | None:
    """Why a cell does not exist; None where it does."""
    distribution, firmware = cell.system.distribution, cell.way.firmware
    if cell.loader not in firmware.loaders:
        return f"{firmware} starts no {cell.loader}"
    if LOADERS[cell.loader] not in available(distribution, Architecture.X86_64):
        return f"{distribution} has no package of {cell.loader} that we take"
    if firmware is Firmware.UEFI_SECURE and distribution not in KERNEL_SIGNERS:
        return f"{distribution} signs no kernel"
    return None


def select_matrix(patterns: list[str]) -> list[MatrixCell]:
    """The cells that exist and whose names match a pattern of fnmatch(3); ValueError for one that matches none."""
    there = [cell for cell in CELLS if why_missing(cell) is None]
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(cell.name, pattern) for cell in there):
            raise ValueError(f"no cell is named {pattern}; there are {', '.join(cell.name for cell in there)}")
    return [
        cell for cell in there if not patterns or any(fnmatch.fnmatchcase(cell.name, pattern) for pattern in patterns)
    ]
