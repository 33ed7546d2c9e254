"""Which versions clients use, as far as the NFS server of this host can tell.

Sources: /proc/fs/nfsd/clients/*/{info,states} of the kernel's server, for NFSv4: every open file with its inode, and
the address; /var/lib/nfs/rmtab, rmtab in mountd(8), for NFSv3: what was mounted and not unmounted in order, so it can
name clients that are long gone. nfs-ganesha tells neither. What is not known to be unused may be in use.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from builder.store.layout import Store

_RMTAB = Path("/var/lib/nfs/rmtab")
_CLIENTS = Path("/proc/fs/nfsd/clients")
_SUPERBLOCK = re.compile(r'superblock: "([0-9a-f]+):([0-9a-f]+):([0-9]+)"')
_ADDRESS = re.compile(r'^address: "?\[?([0-9a-fA-F.:]+?)\]?(?::[0-9]+)?"?$', re.MULTILINE)
_PLACE = re.compile(r"^/(?:versions|writable)/([^/]+)/([0-9]{8}-[0-9a-f]{8})/root(?:/|$)")

InUse = dict[tuple[str, str], set[str]]


def versions_in_use(store: Store, rmtab: Path = _RMTAB, clients: Path = _CLIENTS) -> InUse:
    """(image, version) -> addresses of the clients that are known to use it."""
    found: InUse = {}
    for address, path in _mounted(rmtab):
        place = _PLACE.match(path.removeprefix(str(store.root)))
        if path.startswith(str(store.root)) and place:
            found.setdefault((place[1], place[2]), set()).add(address)
    inodes = dict(_open_inodes(clients))
    if inodes:
        for key, number in _inodes_of_versions(store, set(inodes)):
            found.setdefault(key, set()).update(inodes[number])
    return found


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


def _open_inodes(clients: Path) -> Iterator[tuple[int, set[str]]]:
    found: dict[int, set[str]] = {}
    for states in clients.glob("*/states"):
        try:
            text, info = states.read_text("utf-8", "replace"), (states.parent / "info").read_text("utf-8", "replace")
        except OSError:
            continue
        address = _ADDRESS.search(info)
        for match in _SUPERBLOCK.finditer(text):
            found.setdefault(int(match[3]), set()).add(address[1] if address else "a client")
    yield from found.items()


def _inodes_of_versions(store: Store, wanted: set[int]) -> Iterator[tuple[tuple[str, str], int]]:
    """The versions that hold files with some inodes; a hard-linked file says so of each version that has it."""
    for manifest in store.manifests():
        # clients write while this walks: what is gone meanwhile is passed over
        for _, directories, files, handle in os.fwalk(store.root_of(manifest), follow_symlinks=False):
            for name in (*directories, *files):
                with contextlib.suppress(FileNotFoundError):
                    number = os.stat(name, dir_fd=handle, follow_symlinks=False).st_ino
                    if number in wanted:
                        yield (manifest.image, manifest.version), number
