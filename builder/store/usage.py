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
from collections.abc import Iterable, Iterator, Set
from pathlib import Path

from builder.model.share import OLD_RO, OLD_RW
from builder.model.version import VERSION, ImageVersion, Version
from builder.store.inventory import Inventory
from builder.system.files import filesystem_of
from builder.system.walk import walk

_RMTAB = Path("/var/lib/nfs/rmtab")
_CLIENTS = Path("/proc/fs/nfsd/clients")
_SUPERBLOCK = re.compile(r'superblock: "([0-9a-f]+):([0-9a-f]+):([0-9]+)"')
_ADDRESS = re.compile(r'^address: "?\[?([0-9a-fA-F.:]+?)\]?(?::[0-9]+)?"?$', re.MULTILINE)
_PLACE = re.compile(rf"^/(?:ro|rw|versions|writable)/([^/]+)/({VERSION.pattern})/root(?:/|$)")

OpenFile = tuple[int, int]  # st_dev and st_ino
InUse = dict[ImageVersion, set[str]]


def versions_in_use(inventory: Inventory, rmtab: Path = _RMTAB, clients: Path = _CLIENTS) -> InUse:
    """(image, version) -> addresses of the clients that are known to use it."""
    found: InUse = {}
    root = str(inventory.store.root)
    for address, path in _mounted(rmtab):
        place = _PLACE.match(path.removeprefix(root))
        if path.startswith(root) and place:
            found.setdefault((place[1], Version(place[2])), set()).add(address)
    open_by_client = list(_open_files(clients))
    if open_by_client:
        holders = _versions_with(_roots(inventory), set().union(*(files for _, files in open_by_client)))
        for address, files in open_by_client:
            for key in _booted(files, holders):
                found.setdefault(key, set()).add(address)
    return found


def old_clients(inventory: Inventory, rmtab: Path = _RMTAB, clients: Path = _CLIENTS) -> set[str]:
    """The addresses of clients that seem to use the exports of 0.1."""
    store = inventory.store
    old = re.compile(re.escape(str(store.root)) + rf"/(?:{OLD_RO}|{OLD_RW})(?:/|$)")
    found = {address for address, path in _mounted(rmtab) if old.match(path)}
    roots = [(key, root) for key, root in _roots(inventory) if root == store.old_root(inventory.require(*key))]
    for address, files in _open_files(clients):
        if _versions_with(roots, files):
            found.add(address)
    return found


def _roots(inventory: Inventory) -> list[tuple[ImageVersion, Path]]:
    """Every root of every version: one that was brought over is in two places while clients of the old one run."""
    store = inventory.store
    return [
        ((manifest.image, manifest.version), root)
        for manifest in inventory.manifests
        for root in dict.fromkeys((store.root_of(manifest), store.old_root(manifest)))
        if root.is_dir()
    ]


def _booted(files: set[OpenFile], holders: dict[ImageVersion, set[OpenFile]]) -> set[ImageVersion]:
    """What a client that has these files open may have booted.

    Versions share files by hard links, but a client has one root: what it booted holds all that it has open of any
    version. Where none does, it has several mounted.
    """
    known = files & set().union(*holders.values())
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


def _open_files(clients: Path) -> Iterator[tuple[str, set[OpenFile]]]:
    """The address of each client, and what it has open on any file system."""
    for states in clients.glob("*/states"):
        try:
            text, info = states.read_text("utf-8", "replace"), (states.parent / "info").read_text("utf-8", "replace")
        except OSError:
            continue
        address = _ADDRESS.search(info)
        yield address[1] if address else "a client", {_file(*match.groups()) for match in _SUPERBLOCK.finditer(text)}


def _versions_with(
    roots: Iterable[tuple[ImageVersion, Path]], wanted: Set[OpenFile]
) -> dict[ImageVersion, set[OpenFile]]:
    """The versions that hold some of these files, and which."""
    found: dict[ImageVersion, set[OpenFile]] = {}
    for key, root in roots:
        # btrfs shows another device in its subvolumes than the kernel's server does
        shown = {number for _, number in wanted} if filesystem_of(root) == "btrfs" else None
        # clients write while this walks: what is gone meanwhile is passed over
        for _, handle, name in walk(root):
            with contextlib.suppress(FileNotFoundError):
                info = os.stat(name, dir_fd=handle, follow_symlinks=False)
                file = (info.st_dev, info.st_ino)
                if file in wanted if shown is None else info.st_ino in shown:
                    found.setdefault(key, set()).update(
                        [file] if shown is None else [other for other in wanted if other[1] == info.st_ino]
                    )
    return found


def _file(major: str, minor: str, inode: str) -> OpenFile:
    return os.makedev(int(major, 16), int(minor, 16)), int(inode)
