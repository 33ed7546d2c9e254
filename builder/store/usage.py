"""Which versions clients use, as far as the NFS server of this host can tell.

Sources: /proc/fs/nfsd/clients/*/{info,states} of the kernel's server, for NFSv4: every open file with its inode, and
the address; /var/lib/nfs/rmtab, rmtab in mountd(8), for NFSv3: what was mounted and not unmounted in order, so it can
name clients that are long gone. nfs-ganesha tells neither. What is not known to be unused may be in use.

The format of `states` is the kernel's fs/nfsd/nfs4state.c (nfs4_show_open): superblock: "MAJOR:MINOR:INODE".
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from builder.errors import AuditError
from builder.model.version import VERSION, ImageVersion, Version
from builder.store.inventory import Inventory
from builder.store.reaching import hold_root
from builder.system.walk import walk

_RMTAB = Path("/var/lib/nfs/rmtab")
_CLIENTS = Path("/proc/fs/nfsd/clients")
_SUPERBLOCK = re.compile(r'superblock: "([0-9a-f]+):([0-9a-f]+):([0-9]+)"')
_ADDRESS = re.compile(r'^address: "?\[?([0-9a-fA-F.:]+?)\]?(?::[0-9]+)?"?$', re.MULTILINE)
_PLACE = re.compile(rf"^/(?:versions|writable)/([^/]+)/({VERSION.pattern})/root(?:/|$)")

InUse = dict[ImageVersion, set[str]]


def versions_in_use(inventory: Inventory, rmtab: Path = _RMTAB, clients: Path = _CLIENTS) -> InUse:
    """(image, version) -> addresses of the clients that are known to use it."""
    found: InUse = {}
    root = str(inventory.store.root)
    for address, path in _mounted(rmtab):
        place = _PLACE.match(path.removeprefix(root))
        if path.startswith(root) and place:
            found.setdefault((place[1], Version(place[2])), set()).add(address)
    open_by_client = list(_open_inodes(clients))
    if open_by_client:
        holders = _versions_with(inventory, set().union(*(inodes for _, inodes in open_by_client)))
        for address, inodes in open_by_client:
            for key in _booted(inodes, holders):
                found.setdefault(key, set()).add(address)
    return found


def _booted(inodes: set[int], holders: dict[ImageVersion, set[int]]) -> set[ImageVersion]:
    """What a client that has these files open may have booted.

    Versions share files by hard links, but a client has one root: what it booted holds all that it has open of any
    version. Where none does, it has several mounted.
    """
    known = inodes & set().union(*holders.values())
    whole = {key for key, held in holders.items() if known and known <= held}
    return whole or {key for key, held in holders.items() if known & held}


def _mounted(rmtab: Path) -> Iterator[tuple[str, str]]:
    try:
        lines = rmtab.read_text("utf-8", "replace").splitlines()
    except OSError:
        return
    for line in lines:
        address, _, rest = line.partition(":")
        path, _, count = rest.rpartition(":")
        if path and count != "0x00000000":
            yield address, path


def _open_inodes(clients: Path) -> Iterator[tuple[str, set[int]]]:
    """The address of each client, and what it has open on any file system."""
    for states in clients.glob("*/states"):
        try:
            text, info = states.read_text("utf-8", "replace"), (states.parent / "info").read_text("utf-8", "replace")
        except OSError:
            continue
        address = _ADDRESS.search(info)
        yield address[1] if address else "a client", {int(match[3]) for match in _SUPERBLOCK.finditer(text)}


def _versions_with(inventory: Inventory, wanted: set[int]) -> dict[ImageVersion, set[int]]:
    """The versions that hold some of these inodes, and which."""
    found: dict[ImageVersion, set[int]] = {}
    for manifest in inventory.manifests:
        with contextlib.suppress(AuditError), hold_root(inventory.store, manifest) as root:
            # clients write while this walks: what is gone meanwhile is passed over
            for _, handle, name in walk(root):
                with contextlib.suppress(FileNotFoundError):
                    number = os.stat(name, dir_fd=handle, follow_symlinks=False).st_ino
                    if number in wanted:
                        found.setdefault((manifest.image, manifest.version), set()).add(number)
    return found
