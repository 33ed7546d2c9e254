"""A version comes into the store: staged beside its place, checked in full, synced, named by one rename."""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.archive.content import OnFile
from builder.archive.members import AGAIN, read_members
from builder.archive.unpack import Unpacked, read_index, unpack_source
from builder.errors import AuditError, HostError, InputError
from builder.loaders.table import LOADER_FILES, MENU_DIRECTORIES
from builder.model.index import DIRECTORY, FILE, Index, root_digest
from builder.model.manifest import BUNDLE, INDEX, MANIFEST, Manifest
from builder.model.menu import INITRAMFS, KERNEL
from builder.model.recipe import RootMode
from builder.output.source import SIGNATURE, Source
from builder.output.versions import parse_manifest, read_manifest
from builder.store.agreement import check_releases
from builder.store.boot_files import bundle_digests, hard_link, link_boot_files, set_up_loaders
from builder.store.filesystem import check_filesystem, check_space
from builder.store.layout import TEMPORARY, Store, make_directory
from builder.store.reuse import open_reuse
from builder.system.files import remove_tree, sha256_of, sync_directory, sync_filesystem

# names of the TFTP root and of the store that an image must not take
RESERVED_IMAGES = {"current", "generations", "grub", "ipxe", *MENU_DIRECTORIES, *LOADER_FILES}
# of a name that is also a directory, or that no file can have
_BAD_NAMES = (errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EINVAL)
_INTERRUPTED = "the store is as it was before"


@dataclass(frozen=True)
class Staged:
    """A version that is checked and on disk, but has no name yet: paths of its parts."""

    manifest: Manifest
    directory: Path
    writable: Path | None
    unpacked: Unpacked


@contextlib.contextmanager
def stage(store: Store, source: Source, manifest_bytes: bytes, on_file: OnFile) -> Iterator[Staged]:
    """Unpacks a version beside its place, every byte checked; what is not published is removed again.

    Raises AuditError for whatever is not as manifest and index say, HostError when it does not fit.
    """
    manifest = storable_manifest(source, manifest_bytes)
    parents = _parents(store, manifest)
    try:
        with _as_host_error(store):
            parts = _parts(manifest, parents)
            unpacked = _fill(store, source, parts, manifest, manifest_bytes, on_file)
        yield Staged(manifest, parts[0], parts[1] if len(parts) > 1 else None, unpacked)
    finally:
        _clear(parents)


def _fill(
    store: Store, source: Source, parts: list[Path], manifest: Manifest, manifest_bytes: bytes, on_file: OnFile
) -> Unpacked:
    staged, root = parts[0], parts[-1] / "root"
    (staged / MANIFEST).write_bytes(manifest_bytes)
    signature = source.signature()
    if signature is not None:
        (staged / SIGNATURE).write_bytes(signature)
    index = _fetch_index(source, staged, manifest)
    bundle = _stage_bundle(store, source, staged, manifest, index)
    _check_bundle(source, bundle)
    unpacked = _stage_root(store, source, root, manifest, index, on_file)
    check_releases(f"{manifest.image} {manifest.version}", staged / "boot" / KERNEL, root, "build the image again")
    for part in parts:
        part.chmod(0o755)  # mkdtemp made it 0700
    _tidy(staged)
    return unpacked


@contextlib.contextmanager
def _as_host_error(store: Store) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HostError(f"{error.filename or store.root}: {error.strerror}", _INTERRUPTED) from error


def _clear(parents: list[Path]) -> None:
    """Removes what was staged and has got no name, and the directory of an image that has no version."""
    for parent in filter(Path.is_dir, parents):
        for part in parent.glob(f"{TEMPORARY}*"):
            remove_tree(part)
        if not any(parent.iterdir()):
            parent.rmdir()


def add_version(store: Store, source: Source, manifest_bytes: bytes, on_file: OnFile) -> Unpacked | None:
    """A version and its boot files, on disk and checked; None where the store has it already.

    No client boots it before it is activated.
    """
    manifest = storable_manifest(source, manifest_bytes)
    unpacked = None
    if not check_same(store, source, manifest):
        with stage(store, source, manifest_bytes, on_file) as staged:
            publish(store, staged)
        unpacked = staged.unpacked
    link_boot_files(store, manifest)
    set_up_loaders(store, manifest, replace=False)
    return unpacked


def publish(store: Store, staged: Staged) -> None:
    """Syncs what was staged, and gives the version its name; its root last, see recovery."""
    manifest = staged.manifest
    for directory in {part.stat().st_dev: part for part in (staged.directory, staged.writable) if part}.values():
        sync_filesystem(directory)
    target = store.version(manifest.image, manifest.version)
    staged.directory.rename(target)
    sync_directory(target.parent)
    if staged.writable is not None:
        writable = store.root_of(manifest).parent
        staged.writable.rename(writable)
        sync_directory(writable.parent)


def storable_manifest(source: Source, data: bytes) -> Manifest:
    """The manifest, if it describes an image that a store can hold; InputError or AuditError."""
    manifest = parse_manifest(data, source.name)
    if manifest.image in RESERVED_IMAGES:
        raise InputError(
            f"an image cannot be called {manifest.image!r} in a store", "give it another name in its recipe"
        )
    _check_words(source, manifest)
    if not manifest.version.is_of(manifest.root_digest):
        raise AuditError(f"{source.name}: version {manifest.version} is not of digest {manifest.root_digest}", AGAIN)
    return manifest


def _check_words(source: Source, manifest: Manifest) -> None:
    """Nothing that goes into a menu can be taken for something else there."""
    words = (*manifest.cmdline, *manifest.root.options, manifest.root.version, manifest.root.mode)
    for word in words:
        if not word or not word.isprintable() or " " in word:
            raise AuditError(f"{source.name}: {word!r} is not a word of a kernel command line", AGAIN)


def _booted_with(manifest: Manifest) -> tuple[object, ...]:
    return manifest.root, manifest.cmdline, manifest.initramfs


def check_same(store: Store, source: Source, manifest: Manifest) -> bool:
    """Whether the store has this version; AuditError when it has another whose name is the same."""
    directory = store.version(manifest.image, manifest.version)
    if not directory.exists():
        return False
    there = read_manifest(directory)
    if there.root_digest != manifest.root_digest:
        raise AuditError(
            f"{directory} is another version whose digest begins alike: {there.root_digest}",
            f"prune that version before {source.name} is deployed",
        )
    if _booted_with(there) != _booted_with(manifest):
        raise InputError(
            f"{directory} has the same files, but boots with other options than {source.name}",
            "prune that version first, or use `cmdline` and `nfs_options` of site.yml",
        )
    return True


def _parents(store: Store, manifest: Manifest) -> list[Path]:
    """Where the version comes, and its writable root if it has one."""
    places = [store.versions, store.writable] if manifest.root.mode is RootMode.RW else [store.versions]
    return [place / manifest.image for place in places]


def _parts(manifest: Manifest, parents: list[Path]) -> list[Path]:
    """Empty directories beside the final places."""
    for parent in parents:
        make_directory(parent, 0o755)
        check_filesystem(parent)
    return [Path(tempfile.mkdtemp(prefix=f"{TEMPORARY}{manifest.version}-", dir=parent)) for parent in parents]


def _fetch_index(source: Source, staged: Path, manifest: Manifest) -> Index:
    source.fetch(INDEX, staged / INDEX)
    _check_artifact(source, staged / INDEX, manifest, INDEX)
    index = read_index(staged / INDEX)
    files = sum(record.size for record in index.files)
    if not index.files or index.files[0].path != "." or index.files[0].type != DIRECTORY:
        raise AuditError(f"{source.name}: the index does not begin with the root", AGAIN)
    if files != manifest.size or len(index.files) != manifest.entries:
        raise AuditError(f"{source.name}: manifest and index do not agree on the number and size of files", AGAIN)
    return index


def _check_artifact(source: Source, path: Path, manifest: Manifest, name: str) -> None:
    digest = sha256_of(path)
    if digest != manifest.artifacts[name].sha256:
        raise AuditError(f"{source.name}: {name} is not what the manifest says: SHA-256 {digest}", AGAIN)


def _stage_bundle(store: Store, source: Source, staged: Path, manifest: Manifest, index: Index) -> dict[str, str]:
    """The bundle's files in boot/, linked from a version that has the same bundle; their digests by name.

    With the index they are of the manifest's root digest, or AuditError.
    """
    target = staged / "boot"
    target.mkdir()
    same = _version_with_bundle(store, manifest)
    if same is not None:
        _link_bundle(same / "boot", target)
        digests = bundle_digests(target)
        if root_digest(index.files, digests) == manifest.root_digest:
            return digests
        remove_tree(target)  # that version is damaged
        target.mkdir()
    archive = staged / BUNDLE
    source.fetch(BUNDLE, archive)
    _check_artifact(source, archive, manifest, BUNDLE)
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
        raise AuditError(f"{source.name}: {BUNDLE} holds {name!r}: {error.strerror}", AGAIN) from error
    digests = bundle_digests(target)
    _check_digest(source, manifest, index, digests)
    return digests


def _link_bundle(source: Path, target: Path) -> None:
    for path in sorted(source.rglob("*")):
        if path.is_file() and not path.is_symlink():
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            if not hard_link(path, place):
                shutil.copyfile(path, place)


def _version_with_bundle(store: Store, manifest: Manifest) -> Path | None:
    for other in store.manifests():
        if other.artifacts[BUNDLE].sha256 == manifest.artifacts[BUNDLE].sha256 and other.version != manifest.version:
            return store.version(other.image, other.version)
    return None


def _check_digest(source: Source, manifest: Manifest, index: Index, bundle: dict[str, str]) -> None:
    found = root_digest(index.files, bundle)
    if found != manifest.root_digest:
        raise AuditError(f"{source.name}: index and bundle are of {found}, not of {manifest.root_digest}", AGAIN)


def _check_bundle(source: Source, bundle: dict[str, str]) -> None:
    missing = [name for name in (KERNEL, INITRAMFS) if name not in bundle]
    if missing:
        raise AuditError(f"{source.name}: the bundle has no {' and no '.join(missing)}", "build it again")


def _stage_root(
    store: Store, source: Source, root: Path, manifest: Manifest, index: Index, on_file: OnFile
) -> Unpacked:
    root.mkdir(mode=0o755)
    with open_reuse(store, manifest, copies=source.is_remote) as reuse:
        # what is cloned today is written tomorrow: a read-write root needs room for all of it
        files = [record for record in index.files if record.type == FILE]
        new = files if manifest.root.mode is RootMode.RW else [record for record in files if not reuse.knows(record)]
        inodes = len(new) + sum(record.type != FILE for record in index.files)
        check_space(root.parent.parent, sum(record.size for record in new), inodes)
        if reuse.is_empty:  # every frame of the archive is read and checked
            source.verify_sizes(manifest)
            return unpack_source(source, index, root, None, on_file)
        with concurrent.futures.ThreadPoolExecutor(1) as verifier:
            verified = verifier.submit(source.verify, manifest)
            unpacked = unpack_source(source, index, root, reuse, on_file)
            verified.result()
        return unpacked


def _tidy(directory: Path) -> None:
    """Modes that do not depend on the umask; the root itself has its own."""
    for path in directory.iterdir():
        if path.is_file():
            path.chmod(0o644)
    for path in (directory / "boot", *(directory / "boot").rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
