"""A kernel, its modules and what mounts the root must fit together, or the build fails."""

from __future__ import annotations

from pathlib import Path

import libarchive
import pytest

from builder.errors import AuditError
from builder.generators.base import root_modules
from builder.model.recipe import Nfs, NfsVersion, Root, RootMode
from builder.stages.initramfs import Kernel, check_agreement

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
    check_agreement(kernel(tmp_path, "nfs", "nfsv3", "nfsv4", "overlay"), root_modules(SHARED))
    check_agreement(kernel(tmp_path, "nfs", "nfsv3"), root_modules(Root()))


@pytest.mark.parametrize("missing", root_modules(SHARED))
def test_a_module_that_the_root_needs_is_missing(missing: str, tmp_path: Path) -> None:
    modules = [name for name in root_modules(SHARED) if name != missing]
    with pytest.raises(AuditError, match=f"the initramfs lacks {missing}, so it cannot mount its root"):
        check_agreement(kernel(tmp_path, *modules), root_modules(SHARED))


def test_modules_of_another_kernel(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match=f"the initramfs holds modules for 5.10.0, the kernel is {RELEASE}"):
        check_agreement(kernel(tmp_path, "nfs", "nfsv3", release="5.10.0"), root_modules(Root()))
