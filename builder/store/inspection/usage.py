"""Which versions clients use, as far as the NFS server of this host can tell.

Sources: what the kernel's server says of its clients of NFSv4, every open file with its inode, and rmtab for NFSv3; see
clients.py. nfs-ganesha tells neither. What is not known to be unused may be in use. All of it can be said by whoever
reaches the server: that a client has files open is known, all else is a hint.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path

from builder.errors import AuditError
from builder.model.share import OLD_RO, OLD_RW
from builder.model.version import VERSION, ImageVersion, Version
from builder.store.inspection.clients import CLIENTS, RMTAB, OpenFile, TooMuchError, read_mounts, read_opens
from builder.store.inventory import Inventory
from builder.store.reaching import reached
from builder.system.files import filesystem_of
from builder.system.walk import walk

_PLACE = re.compile(rf"^/(?:ro|rw|versions|writable)/([^/]+)/({VERSION.pattern})/root(?:/|$)")
_MOST_CLIENTS = 10_000  # of a version, that are remembered

Addresses = dict[ImageVersion, set[str]]


@dataclass(frozen=True)
class InUse:
    """Who uses what, by (image, version).

    opened: addresses of clients that have files of it open; hinted: of those that mounted it by rmtab, or had files
    open and fell silent; doubt: why it is not known of any version whether there are more, or None
    """

    opened: Mapping[ImageVersion, set[str]] = field(default_factory=dict)
    hinted: Mapping[ImageVersion, set[str]] = field(default_factory=dict)
    doubt: str | None = None


def versions_in_use(inventory: Inventory, rmtab: Path = RMTAB, clients: Path = CLIENTS) -> InUse:
    """What clients are known to use, and what they may use."""
    opened: Addresses = {}
    hinted: Addresses = {}
    doubts = [*_mounted(inventory, rmtab, hinted), *_open(inventory, clients, opened, hinted)]
    hinted = {key: addresses - opened.get(key, set()) for key, addresses in hinted.items()}
    return InUse(opened, {key: addresses for key, addresses in hinted.items() if addresses}, next(iter(doubts), None))


def old_clients(inventory: Inventory, rmtab: Path = RMTAB, clients: Path = CLIENTS) -> set[str]:
    """The addresses of clients that seem to use the exports of 0.1; that there is too much to read counts as one."""
    store = inventory.store
    found: set[str] = set()
    try:
        for address, path in read_mounts(rmtab, store.root):
            if Path(path).relative_to(store.root).parts[0] in (OLD_RO, OLD_RW):
                found.add(address)
    except TooMuchError as error:
        found.add(str(error))
    roots = [(key, root) for key, root in _roots(inventory) if root == store.old_root(inventory.require(*key))]
    found |= {one.address for one in read_opens(clients) if _versions_with(inventory, roots, one.files)}
    return found


def _mounted(inventory: Inventory, rmtab: Path, hinted: Addresses) -> Iterator[str]:
    root = inventory.store.root
    try:
        for address, path in read_mounts(rmtab, root):
            place = _PLACE.match(path.removeprefix(str(root)))
            if place and (place[1], place[2]) in inventory.found:
                _add(hinted, (place[1], Version(place[2])), address)
    except TooMuchError as error:
        yield str(error)


def _open(inventory: Inventory, clients: Path, opened: Addresses, hinted: Addresses) -> Iterator[str]:
    found = list(read_opens(clients))
    wanted = {file for one in found for file in one.files}
    holders = _versions_with(inventory, _roots(inventory), wanted) if wanted else {}
    for one in found:
        for key in _booted(one.files, holders):
            _add(hinted if one.silent else opened, key, one.address)
        if not one.whole:
            yield f"{one.address} has more files open than are looked through"


def _add(found: Addresses, key: ImageVersion, address: str) -> None:
    addresses = found.setdefault(key, set())
    if len(addresses) < _MOST_CLIENTS:
        addresses.add(address)


def _roots(inventory: Inventory) -> list[tuple[ImageVersion, Path]]:
    """Every root of every version: one that was brought over is in two places while clients of the old one run."""
    store = inventory.store
    return [
        ((manifest.image, manifest.version), root)
        for manifest in inventory.manifests
        for root in dict.fromkeys((store.root_of(manifest), store.old_root(manifest)))
        if root.is_dir()
    ]


def _booted(files: Set[OpenFile], holders: Mapping[ImageVersion, Set[OpenFile]]) -> set[ImageVersion]:
    """What a client that has these files open may have booted.

    Versions share files by hard links, but a client has one root: what it booted holds all that it has open of any
    version. Where none does, it has several mounted.
    """
    known = files & set().union(*holders.values())
    whole = {key for key, held in holders.items() if known and known <= held}
    return whole or {key for key, held in holders.items() if known & held}


def _versions_with(
    inventory: Inventory, roots: Iterable[tuple[ImageVersion, Path]], wanted: Set[OpenFile]
) -> dict[ImageVersion, set[OpenFile]]:
    """The versions that hold some of these files, and which; what no command reaches holds none."""
    found: dict[ImageVersion, set[OpenFile]] = {}
    by_inode: dict[int, set[OpenFile]] = {}
    for file in wanted:
        by_inode.setdefault(file[1], set()).add(file)
    for key, root in roots:
        with contextlib.suppress(AuditError), reached(inventory.store, root), inventory.store.hold(root) as held:
            # btrfs shows another device in its subvolumes than the kernel's server does
            any_device = filesystem_of(Path(f"/proc/self/fd/{held.handle}")) == "btrfs"
            # clients write while this walks: what is gone meanwhile is passed over
            for _, handle, name in walk(held):
                with contextlib.suppress(FileNotFoundError):
                    info = os.stat(name, dir_fd=handle, follow_symlinks=False)
                    same = by_inode.get(info.st_ino, set())
                    same = same if any_device else same & {(info.st_dev, info.st_ino)}
                    if same:
                        found.setdefault(key, set()).update(same)
    return found
