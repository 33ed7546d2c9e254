"""initramfs: generated once, with the final configuration, and checked against the kernel."""

from __future__ import annotations

import posixpath
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from builder.distributions.table import distro_of
from builder.errors import AuditError, InputError
from builder.generators.base import root_modules
from builder.model.entry import TreeFile
from builder.model.recipe import Compression, InitramfsTools, Mkinitcpio
from builder.stages.context import Context
from builder.stages.parts import mkinitcpio
from builder.stages.parts.firmware import warn_of_firmware
from builder.system.cpio import initramfs_names
from builder.system.kernel import kernel_release
from builder.system.modules import built_in_modules, module_name

_MARK = "/var/tmp/.diskless"
_PROGRAMS = {Compression.GZIP: "gzip", Compression.ZSTD: "zstd", Compression.LZ4: "lz4", Compression.XZ: "xz"}


@dataclass(frozen=True)
class Kernel:
    """The kernel that the image boots, on the build host."""

    release: str
    image: Path
    initramfs: Path


def run(context: Context, epoch: int) -> Kernel:
    """Makes the initramfs and returns it with its kernel; AuditError when kernel, modules and initramfs disagree."""
    with context.progress.step("initramfs"):
        _check_compressor(context)
        release = _module_release(context)
        match context.recipe.initramfs:
            case Mkinitcpio():
                image, initramfs = mkinitcpio.make_image(context, release, epoch)
            case InitramfsTools():
                image, initramfs = _update_initramfs(context, release, epoch)
            case other:
                assert_never(other)
        kernel = Kernel(release, taken(context, image), taken(context, initramfs))
        built_in = built_in_modules(context.tree, release)
        names = check_kernel_agreement(kernel, root_modules(context.recipe.root), built_in)
        warn_of_firmware(context, release, names)
        context.progress.note(f"Linux {release}, initramfs {kernel.initramfs.stat().st_size / 1e6:.1f} MB")
        return kernel


def taken(context: Context, path: str) -> Path:
    """A copy of a file of the tree: what packages made there may be a link, and leads nowhere out of it."""
    place = context.workspace.path / "boot"
    place.mkdir(exist_ok=True)
    copy = place / posixpath.basename(path)
    file = context.tree.open(path)
    if file is None:
        raise AuditError(
            f"{path} is not there, or not a plain file", "the kernel's package, or initramfs, should make it"
        )
    with file, copy.open("wb") as target:
        shutil.copyfileobj(file, target)
    return copy


def _update_initramfs(context: Context, release: str, epoch: int) -> tuple[str, str]:
    """Runs initramfs-tools and returns the paths of kernel and image in the tree.

    cpio before 2.14 writes the link counts of directories, which are 1 on btrfs and overlays: there the image is put
    together in the sandbox's memory, whose directories count as those of other file systems.
    """
    environment = {"SOURCE_DATE_EPOCH": str(epoch)}
    if context.workspace.inside.stat().st_nlink == 1:
        environment["TMPDIR"] = "/tmp"
    context.sandbox.run(
        ["update-initramfs", "-c", "-k", release],
        chroot=context.workspace.tree,
        env=environment,
        hint="a missing module or compressor is named in the lines above",
    )
    if "TMPDIR" in environment:  # elsewhere it was used, and has the time of that
        context.tree.write(TreeFile(_MARK, b""))
        context.tree.remove(_MARK)
    return f"/boot/vmlinuz-{release}", f"/boot/initrd.img-{release}"


def check_kernel_agreement(kernel: Kernel, needed: Sequence[str], built_in: frozenset[str] = frozenset()) -> set[str]:
    """The paths in the initramfs.

    Raises AuditError unless kernel and initramfs are of one release and have the `needed` modules between them.
    """
    found = kernel_release(kernel.image.read_bytes(), kernel.image.name)
    if found != kernel.release:
        raise AuditError(f"/boot/{kernel.image.name} is Linux {found}, the modules are for {kernel.release}", _MIXED)
    names = initramfs_names(kernel.initramfs)
    releases = {match[1] for name in names if (match := re.match(r"(?:usr/)?lib/modules/([^/]+)/kernel/", name))}
    # a kernel that has everything built in needs no module
    if releases != {kernel.release} and (releases or not built_in.issuperset(needed)):
        listed = ", ".join(sorted(releases)) or "none"
        raise AuditError(f"the initramfs holds modules for {listed}, the kernel is {kernel.release}", _MIXED)
    modules = {module_name(name) for name in names} | built_in
    missing = [name for name in needed if name not in modules]
    if missing:
        raise AuditError(
            f"the initramfs lacks {', '.join(missing)}, so it cannot mount its root", "check initramfs.modules"
        )
    return names


_MIXED = "this is a fault of the packages: a kernel and its modules must come from one build"


def _module_release(context: Context) -> str:
    releases = context.tree.names("/usr/lib/modules") or context.tree.names("/lib/modules")
    if len(releases) != 1:
        listed = ", ".join(releases) or "none"
        raise AuditError(
            f"the tree has modules of {len(releases)} kernels: {listed}", "an image boots exactly one kernel"
        )
    return releases[0]


def _check_compressor(context: Context) -> None:
    compression = context.recipe.initramfs.compression
    if not any(context.tree.exists(f"{directory}/{_PROGRAMS[compression]}") for directory in ("/usr/bin", "/bin")):
        raise InputError(
            f"initramfs.compression: {compression} needs a program that the image lacks",
            f"add {distro_of(context.recipe).compressors[compression]} to packages",
        )
