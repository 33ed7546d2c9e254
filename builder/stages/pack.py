"""pack: the tree and the bundle become artifacts, and get their version from what they hold."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path

from builder.archive.writer import Member, memory_members, scan_tree, write_archive, write_index
from builder.distributions.table import distro_of
from builder.generators.table import generator_of
from builder.installers.shared import loaders_in
from builder.loaders.table import menu_files
from builder.model.artifacts.index import FileRecord, Index
from builder.model.artifacts.lock import Lock
from builder.model.artifacts.manifest import (
    BUNDLE,
    CHECKSUMS,
    DIGEST_SCHEMA,
    INDEX,
    MANIFEST,
    ROOTFS,
    Artifact,
    Manifest,
    NfsRoot,
    Package,
)
from builder.model.menu import INITRAMFS, KERNEL
from builder.model.recipe import Recipe
from builder.model.version import Version
from builder.progress.progress import Task
from builder.render.boot.cmdline import bundle_menu
from builder.render.image.entries import image_cmdline
from builder.render.image.lease import is_renewed
from builder.stages.context import Context
from builder.stages.initramfs import Kernel
from builder.stages.parts.versions import packing_versions
from builder.stages.scripts import ran_scripts
from builder.system.files import sha256_of, write_atomic
from builder.system.tree import Tree

_UNKNOWN = "0" * 64  # a digest, as long as there is none
_CAPABILITIES = "security.capability"


def run(context: Context, lock: Lock, kernel: Kernel, epoch: int) -> tuple[Manifest, Index]:
    """Writes every artifact but log and report into the workspace's artifacts directory.

    Returns the manifest and the index of the root file system.
    """
    with context.progress.step("pack"):
        directory = context.workspace.artifacts
        draft = _draft(context, lock, kernel, epoch)
        members = list(scan_tree(context.workspace.tree, epoch))
        with context.progress.task("pack", sum(member.record.size for member in members)) as task:
            tree_index = write_archive(_counted(members, task), directory / ROOTFS, context.progress.tick)
        write_index(tree_index, directory / INDEX)
        bundle = _bundle(context, lock, kernel, draft)
        write_archive(memory_members(bundle, epoch), directory / BUNDLE)
        manifest = _finish(draft, tree_index, bundle, directory)
        write_atomic(directory / MANIFEST, manifest.to_json().encode())
        write_atomic(directory / CHECKSUMS, _checksums(manifest, sha256_of(directory / MANIFEST)).encode())
        _warn_of_capabilities(context, manifest)
        _tell_of_scripts(context, manifest)
        return manifest, tree_index


def _counted(members: list[Member], task: Task) -> Iterator[Member]:
    for member in members:
        yield member
        task.advance(member.record.size)


def _draft(context: Context, lock: Lock, kernel: Kernel, epoch: int) -> Manifest:
    """The manifest without what only the artifacts tell."""
    recipe = context.recipe
    nfs = recipe.root.nfs
    packages, removed = installed_packages(context.tree, recipe, lock)
    return Manifest(
        image=recipe.image,
        version=Version.of(epoch, _UNKNOWN),
        root_digest=_UNKNOWN,
        epoch=epoch,
        distribution=recipe.distribution.name,
        release=recipe.distribution.release,
        architecture=recipe.distribution.architecture,
        kernel=kernel.release,
        initramfs=recipe.initramfs.generator,
        root=NfsRoot(recipe.root.mode, nfs.version, nfs.options, mounter=generator_of(recipe).mounter(recipe)),
        cmdline=image_cmdline(recipe),
        recipe_sha256=context.recipe_file.sha256,
        packages=packages,
        capabilities=(),
        entries=0,
        size=0,
        artifacts={},
        tools=packing_versions(),
        scripts=ran_scripts(context),
        loaders=tuple(loader.name for loader in loaders_in(recipe, lock)),
        digest_schema=DIGEST_SCHEMA,
        removed=removed,
        renews_lease=is_renewed(recipe),
        loader_packages=tuple(
            Package(one.name, one.version, one.architecture, one.sha256, False, *distro_of(recipe).source_of(one))
            for one in lock.loaders
        ),
    )


def installed_packages(tree: Tree, recipe: Recipe, lock: Lock) -> tuple[tuple[Package, ...], tuple[Package, ...]]:
    """What the finished tree has installed, sorted, and what of the locked packages it has not any more.

    What scripts installed is told by being in no lock: nobody knows the file that it came from.
    """
    locked = {(p.name, p.version, p.architecture): p.sha256 for p in lock.packages}
    there = set(distro_of(recipe).installed(tree.names, tree.read))
    packages = tuple(
        Package(*one[:3], locked.get(one[:3], ""), one[:3] not in locked, one.source, one.source_version)
        for one in sorted(there)
    )
    names = {(one.name, one.architecture) for one in there}
    removed = [one for one in sorted(locked) if (one[0], one[2]) not in names]
    return packages, tuple(Package(*one, locked[one]) for one in removed)


def _bundle(context: Context, lock: Lock, kernel: Kernel, draft: Manifest) -> dict[str, bytes]:
    loaders = loaders_in(context.recipe, lock)
    return {
        **context.installer.loader_files(lock),
        KERNEL: kernel.image.read_bytes(),
        INITRAMFS: kernel.initramfs.read_bytes(),
        **{path: text.encode() for path, text in menu_files([bundle_menu(draft)], loaders).items()},
    }


def _finish(draft: Manifest, index: Index, bundle: dict[str, bytes], directory: Path) -> Manifest:
    digest = draft.digest_of(
        index.files, {name: hashlib.sha256(content).hexdigest() for name, content in bundle.items()}
    )
    artifacts = {
        name: Artifact((directory / name).stat().st_size, sha256_of(directory / name))
        for name in (ROOTFS, BUNDLE, INDEX)
    }
    return dataclasses.replace(
        draft,
        version=Version.of(draft.epoch, digest),
        root_digest=digest,
        capabilities=tuple(f"/{file.path}" for file in index.files if _has_capabilities(file)),
        entries=len(index.files),
        size=sum(file.size for file in index.files),
        artifacts=artifacts,
    )


def _has_capabilities(file: FileRecord) -> bool:
    return _CAPABILITIES in file.xattrs


def _checksums(manifest: Manifest, own: str) -> str:
    """SHA256SUMS as sha256sum(1) checks it; `own` is the manifest's."""
    digests = {MANIFEST: own, **{name: artifact.sha256 for name, artifact in manifest.artifacts.items()}}
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))


def _warn_of_capabilities(context: Context, manifest: Manifest) -> None:
    if manifest.capabilities:
        context.progress.warn(
            f"NFS does not carry file capabilities to clients: {', '.join(manifest.capabilities)} "
            "will run without theirs there"
        )


def _tell_of_scripts(context: Context, manifest: Manifest) -> None:
    changed = [f"+{one.name} {one.version}" for one in manifest.packages if one.by_script]
    changed += [f"-{one.name}" for one in manifest.removed]
    if changed:
        context.progress.note(f"packages that scripts changed: {', '.join(changed)}")
