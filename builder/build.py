"""build: from a recipe to a version under output/."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.errors import AuditError, DisklessError, HostError, InputError
from builder.installers.base import Job
from builder.installers.registry import INSTALLERS
from builder.loader import RecipeFile
from builder.model.difference import Difference, compare
from builder.model.manifest import LOG, Manifest
from builder.stages import audit, configure, fetch, initramfs, install, pack, report, resolve, scrub
from builder.stages.context import Context
from builder.system.files import free_bytes, swap_symlink, sync_directory
from builder.system.progress import Progress
from builder.system.run import Runner, require_tools
from builder.system.sandbox import TOOLS, Sandbox
from builder.system.versions import LATEST, read_manifest
from builder.system.workspace import Workspace, open_workspace

FAILED_LOG = "failed-build.log"
_WORK = ".work"
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


def build(recipe_file: RecipeFile, output: Path, cache: Path, progress: Progress) -> Built:
    """Builds `recipe_file` and publishes the version under `output`, whole or not at all."""
    preflight(recipe_file, output)
    image = output / recipe_file.recipe.image
    with (
        _workspace(output) as workspace,
        _keep_failed_log(workspace, image),
        Runner(workspace.path / LOG, progress.output) as runner,
    ):
        context = _context(recipe_file, workspace, cache, runner, progress)
        lock = resolve.run(context)
        epoch = fetch.run(context, lock)
        install.run(context, lock, epoch)
        configure.run(context)
        kernel = initramfs.run(context, epoch)
        scrub.run(context)
        audit.run(context)
        manifest = pack.run(context, lock, kernel, epoch)
        difference = _difference(image, manifest)
        report.run(context, manifest, difference)
        return Built(*_publish(workspace, image, manifest), difference)


def preflight(recipe_file: RecipeFile, output: Path) -> None:
    """Raises HostError at once for whatever this machine lacks: privilege, tools, disk space."""
    if os.geteuid() != 0:
        raise HostError("building needs root: packages set owners and modes", "run it with sudo")
    require_tools((*TOOLS, *INSTALLERS[recipe_file.recipe.distribution.name].tools()))
    free = free_bytes(output)
    if free < _NEEDED_BYTES:
        raise HostError(
            f"{output} has {free / 1e9:.1f} GB free, a build needs about {_NEEDED_BYTES / 1e9:.0f} GB",
            "free some space, or choose another place with --output",
        )


@contextlib.contextmanager
def _workspace(output: Path) -> Iterator[Workspace]:
    # below output: the finished version gets its name by rename(2), which cannot cross file systems
    with open_workspace(output.absolute() / _WORK) as workspace:
        yield workspace


def _context(recipe_file: RecipeFile, workspace: Workspace, cache: Path, runner: Runner, progress: Progress) -> Context:
    recipe = recipe_file.recipe
    installer = INSTALLERS[recipe.distribution.name]
    packages = cache.absolute() / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    sandbox = Sandbox(
        runner,
        directory=workspace.view,
        writable=(workspace.path, packages),
        temporary=workspace.temporary,
        readable=installer.readable(recipe),
    )
    job = Job(recipe, sandbox, workspace.tree, workspace.installer, packages, progress)
    return Context(recipe_file, workspace, sandbox, installer(job), progress)


@contextlib.contextmanager
def _keep_failed_log(workspace: Workspace, image: Path) -> Iterator[None]:
    """Saves the log of a failed build, which would go with the workspace, and tells the error where."""
    try:
        yield
    except Exception as error:
        log = workspace.path / LOG
        if log.exists():
            image.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(log, image / FAILED_LOG)
            if isinstance(error, DisklessError):
                error.details = (*error.details, f"the whole log: {image / FAILED_LOG}")
        raise


def _publish(workspace: Workspace, image: Path, manifest: Manifest) -> tuple[Path, Manifest, bool]:
    """Gives the artifacts their name; a version that is already there stays as it is."""
    target = image / manifest.version
    shutil.copyfile(workspace.path / LOG, workspace.artifacts / LOG)
    image.mkdir(parents=True, exist_ok=True)
    unchanged = target.exists()
    if unchanged:
        _check_same(target, manifest)
    else:
        for path in (workspace.artifacts, *workspace.artifacts.iterdir()):
            path.chmod(0o755 if path.is_dir() else 0o644)
        sync_directory(workspace.artifacts)
        workspace.artifacts.rename(target)
        sync_directory(image)
    swap_symlink(image / LATEST, manifest.version)
    (image / FAILED_LOG).unlink(missing_ok=True)
    return target, manifest, unchanged


def _difference(image: Path, manifest: Manifest) -> Difference | None:
    with contextlib.suppress(InputError):
        previous = read_manifest(image / LATEST)
        return compare(previous, manifest) if previous.root_digest != manifest.root_digest else None
    return None


def _check_same(target: Path, manifest: Manifest) -> None:
    try:
        there = read_manifest(target)
    except InputError as error:
        raise AuditError(error.message, f"move {target} away and build again") from error
    if there.root_digest != manifest.root_digest:
        raise AuditError(
            f"{target} is another version whose digest begins alike: {there.root_digest}, not {manifest.root_digest}",
            f"move {target} away and build again",
        )
