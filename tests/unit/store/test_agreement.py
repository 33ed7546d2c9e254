"""A kernel, its modules and what mounts the root must fit together, or the build fails."""

from __future__ import annotations

from pathlib import Path

import libarchive
import pytest

from builder.errors import AuditError
from builder.generators.base import root_modules
from builder.model.recipe import Nfs, NfsVersion, Root, RootMode
from builder.stages.initramfs import Kernel, check_kernel_agreement
from builder.system.modules import built_in_modules
from builder.system.tree import Tree

RELEASE = "6.1.0-1-amd64"
SHARED = Root(mode=RootMode.OVERLAY, nfs=Nfs(version=NfsVersion.V4_2))


def kernel(directory: Path, *modules: str, release: str = RELEASE) -> Kernel:
    """A kernel of RELEASE, and an initramfs with these modules of `release`."""
    image, initramfs = directory / "vmlinuz", directory / "initramfs.img"
    header = bytearray(0x400)
    header[0x202:0x206], header[0x20E:0x210] = b"HdrS", (0x100).to_bytes(2, "little")
    header[0x300 : 0x300 + len(RELEASE) + 1] = RELEASE.encode() + b" "
    image.write_bytes(header)
    with libarchive.file_writer(str(initramfs), "cpio_newc", "zstd") as archive:
        for name in modules:
            archive.add_file_from_memory(f"usr/lib/modules/{release}/kernel/fs/{name}.ko.zst", 1, b"x")
    return Kernel(RELEASE, image, initramfs)


def test_all_is_there(tmp_path: Path) -> None:
    check_kernel_agreement(kernel(tmp_path, "nfs", "nfsv3", "nfsv4", "overlay"), root_modules(SHARED))
    check_kernel_agreement(kernel(tmp_path, "nfs", "nfsv3"), root_modules(Root()))


@pytest.mark.parametrize("missing", root_modules(SHARED))
def test_a_module_that_the_root_needs_is_missing(missing: str, tmp_path: Path) -> None:
    modules = [name for name in root_modules(SHARED) if name != missing]
    with pytest.raises(AuditError, match=f"the initramfs lacks {missing}, so it cannot mount its root"):
        check_kernel_agreement(kernel(tmp_path, *modules), root_modules(SHARED))


def test_what_the_kernel_has_built_in_needs_no_module(tmp_path: Path) -> None:
    built_in = frozenset(root_modules(SHARED))
    check_kernel_agreement(kernel(tmp_path, "e1000"), root_modules(SHARED), built_in)
    check_kernel_agreement(kernel(tmp_path), root_modules(SHARED), built_in)
    check_kernel_agreement(kernel(tmp_path, "overlay"), root_modules(SHARED), built_in - {"overlay"})
    with pytest.raises(AuditError, match="the initramfs lacks overlay, so it cannot mount its root"):
        check_kernel_agreement(kernel(tmp_path, "e1000"), root_modules(SHARED), built_in - {"overlay"})
    with pytest.raises(AuditError, match=f"the initramfs holds modules for none, the kernel is {RELEASE}"):
        check_kernel_agreement(kernel(tmp_path), root_modules(SHARED), built_in - {"overlay"})
    with pytest.raises(AuditError, match=r"modules for 5\.10\.0"):
        check_kernel_agreement(kernel(tmp_path, "e1000", release="5.10.0"), root_modules(SHARED), built_in)


def test_the_kernels_list_is_read(tmp_path: Path) -> None:
    directory = tmp_path / "usr/lib/modules" / RELEASE
    directory.mkdir(parents=True)
    (directory / "modules.builtin").write_text("kernel/fs/nfs/nfs.ko\nkernel/fs/overlayfs/overlay.ko\n", "ascii")
    assert built_in_modules(Tree(tmp_path), RELEASE) == {"nfs", "overlay"}
    assert built_in_modules(Tree(tmp_path), "5.10.0") == set()


def test_modules_that_are_compressed_already_come_first(tmp_path: Path) -> None:
    """mkinitcpio puts .ko.zst and firmware into an archive of its own that it does not compress again."""
    early, late = kernel(tmp_path, "nfs", "nfsv3"), tmp_path / "late.img"
    with libarchive.file_writer(str(late), "cpio_newc", "none") as archive:
        archive.add_file_from_memory(f"usr/lib/modules/{RELEASE}/kernel/drivers/net/e1000.ko.zst", 1, b"x")
        archive.add_file_from_memory("usr/lib/firmware/tigon/tg3.bin.zst", 1, b"x")
    early.initramfs.write_bytes(late.read_bytes() + early.initramfs.read_bytes())
    assert early.initramfs.read_bytes()[:6] == b"070701"
    check_kernel_agreement(early, ("nfs", "nfsv3", "e1000"))


def test_modules_of_another_kernel(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match=f"the initramfs holds modules for 5.10.0, the kernel is {RELEASE}"):
        check_kernel_agreement(kernel(tmp_path, "nfs", "nfsv3", release="5.10.0"), root_modules(Root()))
