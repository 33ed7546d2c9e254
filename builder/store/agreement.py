"""Kernel and modules must be of one release: clients whose kernel finds no modules have no network soon after boot."""

from __future__ import annotations

from pathlib import Path

from builder.errors import AuditError
from builder.system.guarded.held import HeldDirectory
from builder.system.kernel import kernel_release
from builder.system.tree import Tree


def check_releases(name: str, kernel: Path, root: HeldDirectory, hint: str) -> None:
    """AuditError, about the image `name`, unless the root has the modules of the kernel booted with it."""
    release = kernel_release(kernel.read_bytes(), str(kernel))
    found = module_releases(root)
    if release not in found:
        message = f"{name} boots Linux {release}, its root has modules for {', '.join(found) or 'none'}"
        raise AuditError(message, hint)


def module_releases(root: HeldDirectory) -> list[str]:
    """The kernels that a root has modules for."""
    tree = Tree(root.path, root)
    return tree.names("/usr/lib/modules") or tree.names("/lib/modules")
