"""A kernel that a client installed into its read-write root comes to the TFTP root."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from builder.errors import AuditError, InputError
from builder.model.artifacts.manifest import Manifest
from builder.model.generation import BootName
from builder.model.menu import INITRAMFS, KERNEL
from builder.store.agreement import module_releases
from builder.store.boot_files import show_boot_files
from builder.store.filesystem import check_room
from builder.store.layout import TEMPORARY, Store
from builder.store.reaching import hold_root
from builder.system.cpio import initramfs_names
from builder.system.files import sha256_of, sync_file
from builder.system.guarded.held import HeldDirectory
from builder.system.guarded.removal import remove_tree
from builder.system.kernel import kernel_release
from builder.system.modules import built_in_modules
from builder.system.tree import Tree

_HEADER = 128 << 10  # of a kernel: its release lies in the first 64 KiB and 512 bytes
_LARGEST = 1 << 30
_MODULE = re.compile(r"(?:usr/)?lib/modules/([^/]+)/")


@dataclass(frozen=True)
class ClientKernel:
    """A kernel in a root's /boot with the initramfs beside it; paths as the client sees them."""

    release: str
    image: str
    initramfs: str


def find_kernels(root: HeldDirectory) -> list[ClientKernel]:
    """The kernels in /boot that have an initramfs and modules, oldest release first.

    Debian's are vmlinuz-RELEASE and initrd.img-RELEASE, Arch's vmlinuz-NAME and initramfs-NAME.img.
    """
    tree = Tree(root.path, root)
    found = []
    for name in tree.names("/boot", "vmlinuz-*"):
        kind = name.removeprefix("vmlinuz-")
        image = tree.read(f"/boot/{name}", _HEADER)
        beside = [path for path in (f"/boot/initrd.img-{kind}", f"/boot/initramfs-{kind}.img") if tree.exists(path)]
        if image is None or not beside:
            continue
        try:
            release = kernel_release(image, f"/boot/{name}")
        except AuditError:
            continue
        found.append(ClientKernel(release, f"/boot/{name}", beside[0]))
    return sorted(found, key=lambda kernel: _sortable(kernel.release))


def choose_kernel(store: Store, manifest: Manifest, release: str | None) -> ClientKernel:
    """The newest kernel of a root, or the one that is asked for; AuditError when it has no modules there."""
    root = store.root_of(manifest)
    with hold_root(store, manifest) as held:
        kernels, modules = find_kernels(held), module_releases(held)
    if release is not None:
        kernels = [kernel for kernel in kernels if kernel.release == release]
    if not kernels:
        wanted = f"Linux {release}" if release else "a kernel"
        raise InputError(f"{root}/boot has no {wanted} with an initramfs beside it", "install it in the client first")
    chosen = kernels[-1]
    if chosen.release not in modules:
        raise AuditError(
            f"{root}{chosen.image} is Linux {chosen.release}, the root has modules for {', '.join(modules) or 'none'}",
            "let the client's package manager finish, or give --kernel RELEASE",
        )
    return chosen


def take_kernel(store: Store, manifest: Manifest, kernel: ClientKernel) -> BootName:
    """Copies kernel and initramfs into the TFTP root as a further set of boot files of the version.

    One that is the same already is taken instead. AuditError when the initramfs is for another kernel.
    """
    names = [name for name in store.boot_names(manifest.image) if name.version == manifest.version]
    held = hold_root(store, manifest)
    tree = Tree(held.path, held)
    size = sum(_size(tree, path) for path in (kernel.image, kernel.initramfs))
    check_room(store.boot, size, f"Linux {kernel.release}")
    temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=store.boot))
    try:
        files = {KERNEL: temporary / KERNEL, INITRAMFS: temporary / INITRAMFS}
        for path, source in ((files[KERNEL], kernel.image), (files[INITRAMFS], kernel.initramfs)):
            _copy(tree, source, path)
        _check_initramfs(files[INITRAMFS], kernel, built_in_modules(tree, kernel.release))
        digests = {name: sha256_of(path) for name, path in files.items()}
        for boot in reversed(names):
            served = store.boot_files(manifest.image, boot)
            if all((served / name).is_file() and sha256_of(served / name) == digests[name] for name in files):
                return boot
        boot = BootName(manifest.version, names[-1].refresh + 1)
        for path in files.values():
            sync_file(path)
        show_boot_files(files, store.boot_files(manifest.image, boot))
        return boot
    finally:
        remove_tree(temporary)


def _open(tree: Tree, path: str) -> BinaryIO:
    """A file of a client that is no larger than any kernel or initramfs."""
    file = tree.open(path)
    if file is None:
        raise InputError(f"{tree.root}{path} is not a file any more", "let the client's package manager finish")
    if os.fstat(file.fileno()).st_size > _LARGEST:
        file.close()
        raise InputError(f"{tree.root}{path} is larger than {_LARGEST >> 30} GiB", "make it again in the client")
    return file


def _size(tree: Tree, path: str) -> int:
    with _open(tree, path) as file:
        return os.fstat(file.fileno()).st_size


def _copy(tree: Tree, path: str, target: Path) -> None:
    with _open(tree, path) as file:
        target.write_bytes(file.read(_LARGEST))
    target.chmod(0o644)


def _check_initramfs(path: Path, kernel: ClientKernel, built_in: frozenset[str]) -> None:
    releases = {found[1] for name in initramfs_names(path) if (found := _MODULE.match(name))}
    # a kernel that has NFS built in needs no module
    if releases != {kernel.release} and (releases or "nfs" not in built_in):
        raise AuditError(
            f"{kernel.initramfs} holds modules for {', '.join(sorted(releases)) or 'none'}, "
            f"{kernel.image} is Linux {kernel.release}",
            "make it again in the client: update-initramfs -u, or mkinitcpio -P",
        )


def _sortable(release: str) -> list[tuple[int, str]]:
    """Numbers as numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", release) if part]
