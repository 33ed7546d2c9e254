"""build: from a recipe to a version under output/."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.cache import PACKAGES, TreeCache, hold_cache
from builder.distributions.table import distro_of
from builder.errors import AuditError, DisklessError, HostError, InputError
from builder.installers.base import Job
from builder.installers.registry import INSTALLERS
from builder.model.artifacts.difference import Difference, compare_manifests
from builder.model.artifacts.manifest import LOG, Manifest
from builder.output.places import FAILED_LOG, hold_image, hold_work, keep_failed_log, publish_version
from builder.output.versions import LATEST, read_manifest
from builder.progress.progress import Progress
from builder.reading import RecipeFile
from builder.stages import audit, configure, fetch, initramfs, install, pack, report, resolve, scripts, scrub, updates
from builder.stages.context import Context
from builder.system.files import free_bytes
from builder.system.guarded.held import HeldDirectory
from builder.system.guarded.private import keep_private, own_directory
from builder.system.guarded.removal import remove_tree
from builder.system.permissions import IMAGE, require_permissions
from builder.system.run import Runner, require_tools
from builder.system.sandbox import TOOLS, Sandbox
from builder.system.workspace import Workspace, open_workspace

_NEEDED_BYTES = 3 << 30


@dataclass(frozen=True)
class Built:
    """A finished build.

    unchanged: the version was there already
    difference: from what was the newest version before; None where that was none, or the same
    """

    directory: Path
    manifest: Manifest
    unchanged: bool
    difference: Difference | None


def build(
    recipe_file: RecipeFile,
    output: Path,
    cache: Path,
    progress: Progress,
    *,
    fresh: bool = False,
    keep_failed: bool = False,
) -> Built:
    """Builds `recipe_file` and publishes the version under `output`, whole or not at all.

    With `fresh` the packages are installed also where the cache has them installed already. With `keep_failed` the work
    directory of a build that fails stays, for open_shell; the error says where.
    """
    preflight(recipe_file, output)
    image = output / recipe_file.recipe.image
    with (
        _packages(cache, progress) as packages,
        open_workspace(hold_work(output, progress.note), progress.note, keep_failed=keep_failed) as workspace,
        _keep_failed_log(workspace, image, progress),
        Runner(workspace.path / LOG, progress.output) as runner,
    ):
        context = _context(recipe_file, workspace, packages, runner, progress)
        lock = resolve.run(context)
        epoch = fetch.run(context, lock)
        install.run(context, lock, epoch, fresh=fresh)
        configure.run(context, epoch)
        scripts.run(context, epoch)
        updates.run(context, epoch)
        kernel = initramfs.run(context, epoch)
        scrub.run(context)
        audit.run(context)
        manifest, index = pack.run(context, lock, kernel, epoch)
        difference = _difference(image, manifest)
        report.run(context, manifest, index, difference)
        unchanged = _publish(workspace, image, manifest, progress)
        with progress.step("clean"):
            remove_tree(workspace.tree)
        return Built(image / manifest.version, manifest, unchanged, difference)


def preflight(recipe_file: RecipeFile, output: Path) -> None:
    """Raises HostError at once for whatever this machine lacks or forbids: privilege, tools, namespaces, disk space."""
    if os.geteuid() != 0:
        raise HostError("building needs root: packages set owners and modes", "run it with sudo")
    require_tools((*TOOLS, *INSTALLERS[distro_of(recipe_file.recipe).manager].tools()))
    require_permissions(IMAGE, "a build", output)
    free = free_bytes(output)
    if free < _NEEDED_BYTES:
        raise HostError(
            f"{output} has {free / 1e9:.1f} GB free, a build needs about {_NEEDED_BYTES / 1e9:.0f} GB",
            "free some space, or choose another place with --output",
        )


@contextlib.contextmanager
def _packages(cache: Path, progress: Progress) -> Iterator[HeldDirectory]:
    """The package cache; package managers leave what they fetch open to others, whatever the umask."""
    with hold_cache(cache, progress.note) as kept, own_directory(kept, PACKAGES, progress.note) as packages:
        keep_private(packages, progress.note)
        try:
            yield packages
        finally:
            keep_private(packages, lambda text: None)


def _context(
    recipe_file: RecipeFile, workspace: Workspace, cache: HeldDirectory, runner: Runner, progress: Progress
) -> Context:
    recipe = recipe_file.recipe
    installer = INSTALLERS[distro_of(recipe).manager]
    packages = cache.path
    sandbox = Sandbox(
        runner,
        directory=workspace.view,
        writable=(workspace.path, packages),
        temporary=workspace.temporary,
        readable=installer.readable(recipe),
        places={"/run/diskless/work": workspace.path, "/run/diskless/packages": packages},
    )
    job = Job(recipe, sandbox, workspace.tree, workspace.installer, packages, progress)
    trees = TreeCache(packages.parent, progress.note)
    return Context(recipe_file, workspace, sandbox, installer(job), progress, trees)


@contextlib.contextmanager
def _keep_failed_log(workspace: Workspace, image: Path, progress: Progress) -> Iterator[None]:
    """Saves the log of a failed build, which would go with the workspace, and tells the error where."""
    try:
        yield
    except Exception as error:
        log = workspace.path / LOG
        if log.exists():
            keep_failed_log(hold_image(image.parent, image.name, progress.note), log)
            if isinstance(error, DisklessError):
                error.details = (*error.details, f"the whole log: {image / FAILED_LOG}")
        raise


def _publish(workspace: Workspace, image: Path, manifest: Manifest, progress: Progress) -> bool:
    """Gives the artifacts their name; whether the version was there already, in which case it stays as it is."""
    shutil.copyfile(workspace.path / LOG, workspace.artifacts / LOG)
    with hold_image(image.parent, image.name, progress.note) as held:
        unchanged = publish_version(workspace.artifacts, held, manifest)[1]
        held.unlink(FAILED_LOG)
    return unchanged


def _difference(image: Path, manifest: Manifest) -> Difference | None:
    with contextlib.suppress(InputError, AuditError):
        previous = read_manifest(image / LATEST)
        return compare_manifests(previous, manifest) if previous.root_digest != manifest.root_digest else None
    return None
