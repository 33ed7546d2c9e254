"""A version comes into the store: staged beside its place, checked in full, synced, named by one rename."""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.errors import AuditError, HostError, InputError
from builder.model.generation import BootName
from builder.model.index import DIRECTORY, FILE, Index, root_digest
from builder.model.manifest import BUNDLE, INDEX, MANIFEST, Manifest
from builder.render.pxe import INITRAMFS, KERNEL
from builder.store.filesystem import check_filesystem, check_space
from builder.store.layout import TEMPORARY, Store, make_directory
from builder.store.reuse import open_reuse
from builder.system.files import remove_tree, sha256_of, sync_directory, sync_filesystem
from builder.system.members import AGAIN, read_members
from builder.system.source import SIGNATURE, Source
from builder.system.unpack import OnFile, Unpacked, read_index, unpack_source
from builder.system.versions import read_manifest

LOADERS = ("pxelinux.0", "lpxelinux.0", "ldlinux.c32")
# names of the TFTP root and of the store that an image must not take
RESERVED_IMAGES = {"current", "generations", "grub", "ipxe", "pxelinux.cfg", *LOADERS}
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
    manifest = parse_manifest(source, manifest_bytes)
    parts = _parts(store, manifest)
    verifier = concurrent.futures.ThreadPoolExecutor(1)
    try:
        verified = verifier.submit(source.verify, manifest)
        staged = parts[0]
        (staged / MANIFEST).write_bytes(manifest_bytes)
        signature = source.signature()
        if signature is not None:
            (staged / SIGNATURE).write_bytes(signature)
        index = _fetch_index(source, staged, manifest)
        bundle = _stage_bundle(store, source, staged, manifest)
        _check_digest(source, manifest, index, bundle)
        unpacked = _stage_root(store, source, parts[-1] / "root", manifest, index, on_file)
        for part in parts:
            part.chmod(0o755)  # mkdtemp made it 0700
        _tidy(staged)
        verified.result()
        yield Staged(manifest, staged, parts[1] if len(parts) > 1 else None, unpacked)
    finally:
        verifier.shutdown()
        for part in parts:
            if part.exists():
                remove_tree(part)


def add_version(store: Store, source: Source, manifest_bytes: bytes, on_file: OnFile) -> Unpacked | None:
    """A version and its boot files, on disk and checked; None where the store has it already.

    No client boots it before it is activated.
    """
    manifest = parse_manifest(source, manifest_bytes)
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


def parse_manifest(source: Source, data: bytes) -> Manifest:
    """The manifest, if it describes an image that a store can hold."""
    try:
        manifest = Manifest.from_json(data.decode("utf-8"))
    except ValueError as error:
        raise AuditError(f"{source.name}: {error}", AGAIN) from error
    if manifest.image in RESERVED_IMAGES:
        raise InputError(
            f"an image cannot be called {manifest.image!r} in a store", "give it another name in its recipe"
        )
    if not manifest.version.endswith(f"-{manifest.root_digest[:8]}"):
        raise AuditError(f"{source.name}: version {manifest.version} is not of digest {manifest.root_digest}", AGAIN)
    return manifest


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
    return True


def link_boot_files(store: Store, manifest: Manifest) -> None:
    """Shows TFTP the kernel and the initramfs of a version; nothing happens where it does so already."""
    target = store.boot_files(manifest.image, BootName(manifest.version))
    if target.is_dir():
        return
    make_directory(target.parent, 0o755)
    source = store.version(manifest.image, manifest.version) / "boot"
    show_boot_files({name: source / name for name in (KERNEL, INITRAMFS)}, target)


def show_boot_files(files: dict[str, Path], target: Path, *, copy: bool = False) -> None:
    """Links files into a new directory of the TFTP root; copies them from another file system, or if asked."""
    temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=target.parent))
    for name, path in files.items():
        if copy or not _hard_link(path, temporary / name):
            copy_synced(path, temporary / name)
    temporary.chmod(0o755)
    sync_directory(temporary)
    temporary.rename(target)
    sync_directory(target.parent)
    sync_directory(target.parent.parent)


def _hard_link(source: Path, target: Path) -> bool:
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM):
            raise
        return False
    return True


def copy_synced(source: Path, target: Path) -> None:
    """A copy that anybody may read, on disk."""
    shutil.copyfile(source, target)
    target.chmod(0o644)
    handle = os.open(target, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def set_up_loaders(store: Store, manifest: Manifest, *, replace: bool) -> list[str]:
    """Puts the version's loaders into the TFTP root where it has none, or if asked; returns those that changed.

    They are replaced only on request: a client may be between its loader and the loader's modules, which must match.
    """
    source = store.version(manifest.image, manifest.version) / "boot"
    changed = []
    for name in LOADERS:
        target = store.boot / name
        if not (source / name).exists() or (target.exists() and not replace):
            continue
        if target.exists() and sha256_of(target) == sha256_of(source / name):
            continue
        temporary = store.boot / f"{TEMPORARY}{name}"
        copy_synced(source / name, temporary)
        temporary.replace(target)
        changed.append(name)
    sync_directory(store.boot)
    return changed


def _parts(store: Store, manifest: Manifest) -> list[Path]:
    """Empty directories beside the final places: of the version, and of its writable root if it has one."""
    parents = [store.versions / manifest.image]
    if manifest.root.mode == "rw":
        parents.append(store.writable / manifest.image)
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


def _stage_bundle(store: Store, source: Source, staged: Path, manifest: Manifest) -> dict[str, str]:
    """The bundle's files in boot/, linked from a version that has the same bundle; their digests by name."""
    target = staged / "boot"
    target.mkdir()
    same = _version_with_bundle(store, manifest)
    if same is not None:
        for path in sorted((same / "boot").rglob("*")):
            if path.is_file():
                place = target / path.relative_to(same / "boot")
                place.parent.mkdir(parents=True, exist_ok=True)
                if not _hard_link(path, place):
                    shutil.copyfile(path, place)
        return bundle_digests(target)
    archive = staged / BUNDLE
    source.fetch(BUNDLE, archive)
    _check_artifact(source, archive, manifest, BUNDLE)
    for name, content in read_members(archive).items():
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    archive.unlink()
    return bundle_digests(target)


def _version_with_bundle(store: Store, manifest: Manifest) -> Path | None:
    for other in store.manifests():
        if other.artifacts[BUNDLE].sha256 == manifest.artifacts[BUNDLE].sha256 and other.version != manifest.version:
            return store.version(other.image, other.version)
    return None


def bundle_digests(directory: Path) -> dict[str, str]:
    """SHA-256 of every file of an unpacked bundle, by its name in the bundle."""
    return {
        str(path.relative_to(directory)): sha256_of(path) for path in sorted(directory.rglob("*")) if path.is_file()
    }


def _check_digest(source: Source, manifest: Manifest, index: Index, bundle: dict[str, str]) -> None:
    found = root_digest(index.files, bundle)
    if found != manifest.root_digest:
        raise AuditError(f"{source.name}: index and bundle are of {found}, not of {manifest.root_digest}", AGAIN)
    missing = [name for name in (KERNEL, INITRAMFS) if name not in bundle]
    if missing:
        raise AuditError(f"{source.name}: the bundle has no {' and no '.join(missing)}", "build it again")


def _stage_root(
    store: Store, source: Source, root: Path, manifest: Manifest, index: Index, on_file: OnFile
) -> Unpacked:
    root.mkdir(mode=0o755)
    with open_reuse(store, manifest) as reuse:
        new = [record for record in index.files if record.type == FILE and not reuse.knows(record)]
        inodes = len(new) + sum(record.type != FILE for record in index.files)
        check_space(root, sum(record.size for record in new), inodes)
        try:
            return unpack_source(source, index, root, reuse, on_file)
        except OSError as error:
            raise HostError(f"{error.filename or root}: {error.strerror}", _INTERRUPTED) from error


def _tidy(directory: Path) -> None:
    """Modes that do not depend on the umask; the root itself has its own."""
    for path in directory.iterdir():
        if path.is_file():
            path.chmod(0o644)
    for path in (directory / "boot", *(directory / "boot").rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
