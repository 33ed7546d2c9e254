"""The modules of a kernel, by name: Linux' kbuild.rst, modules.builtin."""

from __future__ import annotations

import re

from builder.system.tree import Tree

_LARGEST = 1 << 20  # a root may be a client's; Debian's list has 60 KiB


def built_in_modules(tree: Tree, release: str) -> frozenset[str]:
    """The modules that the kernel has built in; none where its list is missing."""
    for directory in ("/usr/lib/modules", "/lib/modules"):
        listed = tree.read(f"{directory}/{release}/modules.builtin", _LARGEST)
        if listed is not None:
            return frozenset(module_name(line) for line in listed.decode("utf-8", "replace").splitlines())
    return frozenset()


def module_name(path: str) -> str:
    """`kernel/fs/nfs/nfs.ko.zst` -> `nfs`."""
    return re.sub(r"\.ko(\.\w+)?$", "", path.rpartition("/")[2])
