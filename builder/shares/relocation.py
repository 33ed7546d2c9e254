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
from builder.store.filesystem import check_space
from builder.store.inventory import Inventory
from builder.store.layout import TEMPORARY, Store, make_directory
from builder.store.reuse import open_relocation
from builder.system.files import remove_tree, sync_directory, sync_filesystem
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
    place, old = store.new_place(manifest), store.old_root(manifest)
    make_directory(place.parent, 0o755)
    with _staged(place) as root:
        if manifest.root.mode is RootMode.RW:
            _copy_tree(old, root)
        else:
            _copy_indexed(inventory, manifest, root, on_file)


@contextlib.contextmanager
def _staged(place: Path) -> Iterator[Path]:
    """A directory `root` beside its place, which gets the place's name at the end, or is removed."""
    temporary = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY}{place.name}-", dir=place.parent))
    try:
        (temporary / "root").mkdir(mode=0o755)
        yield temporary / "root"
        temporary.chmod(0o755)
        sync_filesystem(temporary)
        temporary.rename(place)
    except BaseException:
        remove_tree(temporary)
        raise
    sync_directory(place.parent)


def _copy_indexed(inventory: Inventory, manifest: Manifest, root: Path, on_file: OnFile) -> None:
    index = _index(inventory.store, manifest)
    with open_relocation(inventory, manifest) as reuse:
        device = root.stat().st_dev
        new = [record for record in index.files if record.type == FILE and not reuse.links(record, device)]
        inodes = len(new) + sum(record.type != FILE for record in index.files)
        check_space(root.parent.parent, sum(record.size for record in new), inodes)
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


def _copy_tree(source: Path, target: Path) -> None:
    """Everything of a tree that clients wrote; tar follows no link of it."""
    check_space(target, _used(source), 0)
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(
            [*_TAR, "-C", str(source), "-cf", "-", "."], stdout=subprocess.PIPE, stderr=said, env=CLEAN_ENVIRONMENT
        ) as reader:
            command = [*_TAR, "--same-permissions", "--same-owner", "-C", str(target), "-xf", "-"]
            written = subprocess.run(command, stdin=reader.stdout, stderr=said, env=CLEAN_ENVIRONMENT, check=False)
        if reader.returncode or written.returncode:
            said.seek(0)
            lines = said.read().decode("utf-8", "replace").splitlines()[-LAST_LINES:]
            raise CommandError(f"tar could not copy {source}", "the root is where it was", tuple(lines))


def _used(tree: Path) -> int:
    """Bytes on disk, st_blocks of stat(2)."""
    total = 0
    for _, directory, name in walk(tree):
        with contextlib.suppress(FileNotFoundError):
            total += os.stat(name, dir_fd=directory, follow_symlinks=False).st_blocks * 512
    return total
