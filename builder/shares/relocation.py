"""Bringing roots over: from where a store without file systems of its own has them, to the shares."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from builder.archive.content import OnFile
from builder.archive.unpack import read_index, unpack_source
from builder.errors import AuditError, CommandError
from builder.model.artifacts.index import FILE, Frame, Index
from builder.model.artifacts.manifest import INDEX, Manifest
from builder.model.recipe import RootMode
from builder.output.source import Source
from builder.store.arrival.reuse import open_relocation
from builder.store.filesystem import check_space
from builder.store.inventory import Inventory
from builder.store.layout import TEMPORARY, Store
from builder.store.reaching import reached
from builder.system.guarded.held import HeldDirectory
from builder.system.run import CLEAN_ENVIRONMENT, LAST_LINES, Tool
from builder.system.walk import walk

TOOLS = (Tool("tar", "tar", "tar"),)
# everything that a file has; names of owners are the image's own
_TAR = ("tar", "--numeric-owner", "--acls", "--xattrs", "--xattrs-include=*", "--sparse", "--one-file-system")


def waiting(store: Store, manifest: Manifest) -> bool:
    """Whether a version's root is still in the old place, and there is a share for it."""
    shared = store.share_of(manifest.image, manifest.root.mode) is not None
    return shared and store.root_of(manifest) == store.old_root(manifest)


def relocate(inventory: Inventory, manifest: Manifest, on_file: OnFile) -> None:
    """Copies a root to its share, whole or not at all; the old one stays.

    A read-only root is copied as its index says, every byte checked, its files linked to those of versions that are
    there. A read-write one is copied as it is: no client may run from it. AuditError where a read-only root is not as
    it was deployed.
    """
    store = inventory.store
    with _staged(store, store.new_place(manifest)) as root:
        if manifest.root.mode is RootMode.RW:
            with reached(store, store.old_root(manifest)), store.hold(store.old_root(manifest)) as old:
                _copy_tree(old, root)
        else:
            _copy_indexed(inventory, manifest, root, on_file)


@contextlib.contextmanager
def _staged(store: Store, place: Path) -> Iterator[HeldDirectory]:
    """A directory `root` beside its place, which gets the place's name at the end, or is removed."""
    with reached(store, place.parent), store.hold(place.parent.parent) as top:
        parent = top.ensure(place.parent.name, 0o755)
    with parent, parent.make_temporary(f"{TEMPORARY}{place.name}-") as staged:
        try:
            with staged.make("root", 0o755) as root:
                yield root
            os.fchmod(staged.handle, 0o755)
            staged.sync_filesystem()
            parent.rename(staged.path.name, parent, place.name)
        except BaseException:
            parent.remove(staged.path.name)
            raise
        parent.sync()


def _copy_indexed(inventory: Inventory, manifest: Manifest, root: HeldDirectory, on_file: OnFile) -> None:
    index = _index(inventory.store, manifest)
    with open_relocation(inventory, manifest) as reuse:
        device = os.fstat(root.handle).st_dev
        new = [record for record in index.files if record.type == FILE and not reuse.links(record, device)]
        inodes = len(new) + sum(record.type != FILE for record in index.files)
        check_space(root, sum(record.size for record in new), inodes)
        unpack_source(_Nothing(inventory.store.old_root(manifest)), index, root, reuse, on_file)


def _index(store: Store, manifest: Manifest) -> Index:
    path = store.version(manifest.image, manifest.version) / INDEX

    def check(sha256: str) -> None:
        if sha256 != manifest.artifacts[INDEX].sha256:
            raise AuditError(f"{path} is not what the manifest says", _DEPLOY_AGAIN)

    return read_index(path, check)


_DEPLOY_AGAIN = "diskless verify names what is wrong; prune that version, or deploy it again, which brings it whole"


class _Nothing(Source):
    """The artifacts of a version that is there already: what its root does not give is nowhere."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def name(self) -> str:
        """The root."""
        return str(self._root)

    def fetch(self, artifact: str, target: Path) -> None:
        """Never asked for."""
        raise AssertionError(artifact)

    def frames(self, frames: Sequence[Frame]) -> Iterator[bytes]:
        """AuditError where any is asked for: there is none."""
        if frames:
            raise AuditError(f"{self._root} is not as it was deployed: files are missing or changed", _DEPLOY_AGAIN)
        return iter(())


def _copy_tree(source: HeldDirectory, target: HeldDirectory) -> None:
    """Everything of a tree that clients wrote; tar follows no link of it."""
    check_space(target, _used(source), 0)
    here, there = (f"/proc/self/fd/{directory.handle}" for directory in (source, target))
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(
            [*_TAR, "-C", here, "-cf", "-", "."],
            stdout=subprocess.PIPE,
            stderr=said,
            env=CLEAN_ENVIRONMENT,
            pass_fds=[source.handle],
        ) as reader:
            command = [*_TAR, "--same-permissions", "--same-owner", "-C", there, "-xf", "-"]
            written = subprocess.run(
                command,
                stdin=reader.stdout,
                stderr=said,
                env=CLEAN_ENVIRONMENT,
                check=False,
                pass_fds=[target.handle],
            )
        if reader.returncode or written.returncode:
            said.seek(0)
            lines = said.read().decode("utf-8", "replace").splitlines()[-LAST_LINES:]
            raise CommandError(f"tar could not copy {source.path}", "the root is where it was", tuple(lines))


def _used(tree: HeldDirectory) -> int:
    """Bytes on disk, st_blocks of stat(2)."""
    total = 0
    for _, directory, name in walk(tree):
        with contextlib.suppress(FileNotFoundError):
            total += os.stat(name, dir_fd=directory, follow_symlinks=False).st_blocks * 512
    return total
