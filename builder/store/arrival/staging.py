"""A version comes into the store: staged beside its place, checked in full, synced, named by one rename."""

from __future__ import annotations

import concurrent.futures
import errno
import functools
import os
import shutil
from pathlib import Path

from builder.archive.content import OnFile
from builder.archive.members import AGAIN, read_members
from builder.archive.unpack import Unpacked, read_index, unpack_source
from builder.errors import AuditError
from builder.model.artifacts.index import DIRECTORY, FILE, Index
from builder.model.artifacts.manifest import BUNDLE, INDEX, ROOTFS
from builder.model.menu import INITRAMFS, KERNEL
from builder.model.recipe import RootMode
from builder.output.offer import Offer, check_frames
from builder.store.agreement import check_releases
from builder.store.arrival.reuse import open_reuse
from builder.store.boot_files import bundle_digests, check_boot_room, hard_link
from builder.store.filesystem import check_filesystem, check_space
from builder.store.inventory import Inventory
from builder.store.layout import TEMPORARY
from builder.store.reaching import reached, refusal_of
from builder.store.recovery import discard, remove_if_empty
from builder.system.files import sha256_of
from builder.system.guarded.held import HeldDirectory
from builder.system.guarded.removal import remove_tree
from builder.system.inheritance import drop_acls

# of a name that is also a directory, or that no file can have
_BAD_NAMES = (errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EINVAL)


class Staging:
    """One version on its way into a store: `create`, `fill`, `verify` and `commit` in this order, and `discard`.

    `discard` comes at the end whatever happened: it removes what has got no name.
    """

    def __init__(self, inventory: Inventory, offer: Offer) -> None:
        self._inventory = inventory
        self._offer = offer
        self._manifest = manifest = offer.manifest
        self._store = store = inventory.store
        self._places = list(dict.fromkeys((store.versions / manifest.image, store.new_place(manifest).parent)))
        # held: of what lies below an export, a client may exchange any name meanwhile
        self._parents: list[HeldDirectory] = []
        self._parts: list[HeldDirectory] = []

    @property
    def _directory(self) -> Path:
        """What becomes the version's."""
        return self._parts[0].path

    def create(self) -> None:
        """Makes empty directories beside the final places.

        HostError where the file system lacks something, AuditError where a client put something else in the place.
        """
        for place in self._places:
            with reached(self._store, place), self._store.hold(place.parent) as top:
                self._parents.append(top.ensure(place.name, 0o755))
                check_filesystem(self._parents[-1])
                if self._parents[-1].kind(self._manifest.version):
                    self._make_way(place / self._manifest.version)
        for parent in self._parents:
            self._parts.append(parent.make_temporary(f"{TEMPORARY}{self._manifest.version}-"))
            drop_acls(self._parts[-1].handle)  # what the place gives is no part of a version

    def _make_way(self, left: Path) -> None:
        """Removes a read-only root without a version: of a store that was restored, or whose disks lost one of the two.

        AuditError for anything else, a read-write root above all, which has what clients wrote.
        """
        if self._manifest.root.mode is RootMode.RW or left.is_relative_to(self._store.versions):
            message = f"{left} is there, and the store does not know its version: clients may have written to it"
            raise AuditError(message, "move it away, or remove it, if nobody needs what is in it")
        discard(left, self._store)

    def fill(self, on_file: OnFile) -> Unpacked:
        """Writes all of the version, every byte checked.

        AuditError for whatever is not as manifest and index say, HostError when it does not fit.
        """
        self._offer.write_documents(self._directory)
        index = self._fill_index()
        unread = self._fill_boot(index)
        unpacked = self._fill_root(index, unread, on_file)
        self._set_modes()
        return unpacked

    def verify(self) -> None:
        """AuditError unless the parts that are on disk now fit each other: the root has the kernel's modules.

        HostError where there is no room to serve it.
        """
        name = f"{self._manifest.image} {self._manifest.version}"
        check_releases(name, self._directory / "boot" / KERNEL, self._root, "build the image again")
        check_boot_room(self._store, self._directory / "boot")

    def commit(self) -> None:
        """Syncs what was staged, and gives the version its name; its root last, see recovery.

        AuditError, and no version left, where a client exchanged what was staged.
        """
        for part in {os.fstat(part.handle).st_dev: part for part in self._parts}.values():
            part.sync_filesystem()
        version, parts = self._manifest.version, list(zip(self._parents, self._parts, strict=True))
        try:
            for parent, part in parts:
                with reached(self._store, parent.path):
                    parent.rename(part.path.name, parent, version)
                    parent.sync()
                if not parent.is_named(version, part):
                    message = f"{parent.path / version} is not what was unpacked: a client exchanged it"
                    raise AuditError(message, "deploy again")
        except BaseException:
            for parent, part in reversed(parts):
                if parent.is_named(version, part):
                    parent.rename(version, parent, part.path.name)
            raise

    def discard(self) -> None:
        """Removes what was staged and has got no name, and the directory of an image that has no version."""
        for parent in self._parents:
            for name in parent.names():
                if name.startswith(TEMPORARY):
                    refusal_of(functools.partial(parent.remove, name))
        for place in self._places:
            refusal_of(functools.partial(self._remove_if_empty, place))

    def _remove_if_empty(self, place: Path) -> None:
        with self._store.hold(place.parent) as top:
            remove_if_empty(top, place.name)

    def _fill_index(self) -> Index:
        path = self._directory / INDEX
        self._offer.source.fetch(INDEX, path)
        index = read_index(path, lambda sha256: self._check_artifact(INDEX, sha256), self._manifest.entries)
        check_frames(self._offer, index)
        files = sum(record.size for record in index.files)
        if not index.files or index.files[0].path != "." or index.files[0].type != DIRECTORY:
            raise AuditError(f"{self._offer.source.name}: the index does not begin with the root", AGAIN)
        if files != self._manifest.size or len(index.files) != self._manifest.entries:
            message = "manifest and index do not agree on the number and size of files"
            raise AuditError(f"{self._offer.source.name}: {message}", AGAIN)
        return index

    def _fill_boot(self, index: Index) -> set[str]:
        """Puts the bundle's files into boot/, linked from a version that has the same bundle.

        With the index they are of the manifest's root digest, or AuditError. The artifacts that were not read yet.
        """
        name, target, unread = self._offer.source.name, self._directory / "boot", {ROOTFS, BUNDLE}
        target.mkdir()
        digests = self._linked_bundle(target, index)
        if digests is None:
            self._unpack_bundle(target)
            unread.remove(BUNDLE)
            digests = bundle_digests(target)
            found = self._manifest.digest_of(index.files, digests)
            if found != self._manifest.root_digest:
                message = f"index and bundle are of {found}, not of {self._manifest.root_digest}"
                raise AuditError(f"{name}: {message}", AGAIN)
        missing = [file for file in (KERNEL, INITRAMFS) if file not in digests]
        if missing:
            raise AuditError(f"{name}: the bundle has no {' and no '.join(missing)}", "build it again")
        return unread

    def _linked_bundle(self, target: Path, index: Index) -> dict[str, str] | None:
        """Links what another version with the same bundle has: its digests, or None where there is none undamaged."""
        sha256 = self._manifest.artifacts[BUNDLE].sha256
        same = [other for other in self._inventory.manifests if other.artifacts[BUNDLE].sha256 == sha256]
        other = next((other for other in same if other.version != self._manifest.version), None)
        if other is None:
            return None
        _link_files(self._store.version(other.image, other.version) / "boot", target)
        digests = bundle_digests(target)
        if self._manifest.digest_of(index.files, digests) == self._manifest.root_digest:
            return digests
        remove_tree(target)
        target.mkdir()
        return None

    def _unpack_bundle(self, target: Path) -> None:
        archive = self._directory / BUNDLE
        self._offer.source.fetch(BUNDLE, archive)
        self._check_artifact(BUNDLE, sha256_of(archive))
        files = read_members(archive)
        archive.unlink()
        try:
            for name, content in files.items():
                place = target / name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
        except OSError as error:
            if error.errno not in _BAD_NAMES:
                raise
            message = f"{self._offer.source.name}: {BUNDLE} holds {name!r}: {error.strerror}"
            raise AuditError(message, AGAIN) from error

    def _check_artifact(self, name: str, sha256: str) -> None:
        if sha256 != self._manifest.artifacts[name].sha256:
            message = f"{name} is not what the manifest says: SHA-256 {sha256}"
            raise AuditError(f"{self._offer.source.name}: {message}", AGAIN)

    def _fill_root(self, index: Index, unread: set[str], on_file: OnFile) -> Unpacked:
        """Unpacks the root; meanwhile what is at hand of the artifacts in `unread` is verified."""
        source, manifest = self._offer.source, self._manifest
        self._root = root = self._parts[-1].make("root", 0o755)
        with open_reuse(self._inventory, manifest, copies=source.is_remote) as reuse:
            # what is cloned today is written tomorrow: a read-write root needs room for all of it
            files = [record for record in index.files if record.type == FILE]
            new = (
                files if manifest.root.mode is RootMode.RW else [record for record in files if not reuse.knows(record)]
            )
            inodes = len(new) + sum(record.type != FILE for record in index.files)
            check_space(self._parents[-1], sum(record.size for record in new), inodes)
            if reuse.is_empty:  # every frame of the archive is read and checked
                source.verify_sizes(manifest.artifacts)
                return unpack_source(source, index, root, None, on_file)
            artifacts = {name: manifest.artifacts[name] for name in unread}
            with concurrent.futures.ThreadPoolExecutor(1) as verifier:
                verified = verifier.submit(source.verify, artifacts)
                unpacked = unpack_source(source, index, root, reuse, on_file)
                verified.result()
            return unpacked

    def _set_modes(self) -> None:
        """Modes that do not depend on the umask; the root itself has its own."""
        for part in self._parts:
            os.fchmod(part.handle, 0o755)
        for path in self._directory.iterdir():
            if path.is_file():
                path.chmod(0o644)
        for path in (self._directory / "boot", *(self._directory / "boot").rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)


def _link_files(source: Path, target: Path) -> None:
    for path in sorted(source.rglob("*")):
        if path.is_file() and not path.is_symlink():
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            if not hard_link(path, place):
                shutil.copyfile(path, place)
