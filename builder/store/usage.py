"""Which versions clients use, as far as the NFS server of this host can tell.

Sources: what the kernel's server says of its clients of NFSv4, every open file with its inode, and rmtab for NFSv3; see
clients.py. nfs-ganesha tells neither. What is not known to be unused may be in use. All of it can be said by whoever
reaches the server: that a client has files open is known, all else is a hint.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from builder.model.version import VERSION, ImageVersion, Version
from builder.store.clients import CLIENTS, RMTAB, TooMuchError, read_mounts, read_opens
from builder.store.inventory import Inventory
from builder.system.walk import walk

_PLACE = re.compile(rf"^/(?:versions|writable)/([^/]+)/({VERSION.pattern})/root(?:/|$)")
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
    holders = _versions_with(inventory, {inode for one in found for _, inode in one.files}) if found else {}
    for one in found:
        for key in _booted({inode for _, inode in one.files}, holders):
            _add(hinted if one.silent else opened, key, one.address)
        if not one.whole:
            yield f"{one.address} has more files open than are looked through"


def _add(found: Addresses, key: ImageVersion, address: str) -> None:
    addresses = found.setdefault(key, set())
    if len(addresses) < _MOST_CLIENTS:
        addresses.add(address)


def _booted(inodes: set[int], holders: dict[ImageVersion, set[int]]) -> set[ImageVersion]:
    """What a client that has these files open may have booted.

    Versions share files by hard links, but a client has one root: what it booted holds all that it has open of any
    version. Where none does, it has several mounted.
    """
    known = inodes & set().union(*holders.values())
    whole = {key for key, held in holders.items() if known and known <= held}
    return whole or {key for key, held in holders.items() if known & held}


def _versions_with(inventory: Inventory, wanted: set[int]) -> dict[ImageVersion, set[int]]:
    """The versions that hold some of these inodes, and which."""
    found: dict[ImageVersion, set[int]] = {}
    for manifest in inventory.manifests:
        # clients write while this walks: what is gone meanwhile is passed over
        for _, handle, name in walk(inventory.store.root_of(manifest)):
            with contextlib.suppress(FileNotFoundError):
                number = os.stat(name, dir_fd=handle, follow_symlinks=False).st_ino
                if number in wanted:
                    found.setdefault((manifest.image, manifest.version), set()).add(number)
    return found
