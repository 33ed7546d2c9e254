"""build: from a recipe to a version under output/."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.cache import hold_build_cache
from builder.errors import DisklessError, HostError
from builder.model.artifacts.difference import Difference, compare_manifests
from builder.model.artifacts.index import Index
from builder.model.artifacts.lock import Lock
from builder.model.artifacts.manifest import LOG, Manifest
from builder.model.typed import typed
from builder.model.version import Version
from builder.output.built import Earlier, carry_signature, hold_results, is_damaged, newest_of
from builder.output.places import FAILED_LOG, hold_image, hold_work, keep_failed_log, publish_version
from builder.output.versions import LATEST, read_manifest
from builder.progress.progress import Progress
from builder.reading import RecipeFile
from builder.render.image.lease import lease_advice
from builder.stages import (
    audit,
    compare,
    configure,
    fetch,
    identity,
    initramfs,
    install,
    pack,
    readback,
    report,
    resolve,
    reuse,
    scripts,
    scrub,
    updates,
)
from builder.stages.compare import Divergence
from builder.stages.context import Context, Pinned
from builder.stages.parts.opening import make_context, open_packages, prepare_host
from builder.system.files import free_bytes
from builder.system.guarded.held import HeldDirectory
from builder.system.guarded.removal import remove_tree
from builder.system.run import Runner
from builder.system.sandbox.network import require_outside
from builder.system.userns.ids import IdMap
from builder.system.userns.inside import call_inside, hand_over
from builder.system.workspace import Workspace, open_workspace, require_execution

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
    pinned: Pinned | None = None,
    fresh: bool = False,
    keep_failed: bool = False,
) -> Built:
    """Builds `recipe_file` and publishes the version under `output`, whole or not at all.

    Where an earlier build of the same inputs gave a version that is there still, that is the one. With `fresh` all is
    done anew: the packages are installed also where the cache has them installed already. `pinned` is all that a locked
    build takes; no mirror is asked for anything else. With `keep_failed` the work directory of a build that fails
    stays, for open_shell; the error says where.
    """
    ids = preflight(recipe_file, output, pinned)
    advice = lease_advice(recipe_file.recipe)
    if advice is not None:
        progress.warn(f"{advice.message}: {advice.hint}")
    image = output / recipe_file.recipe.image
    if image.is_dir():
        # what may not be written there is said now, not at the end
        hold_image(output, image.name, progress.note).close()
    with _open_bench(recipe_file, output, cache, progress, ids, pinned, keep_failed=keep_failed) as bench:

        def make() -> dict[str, Any]:
            return dataclasses.asdict(_make_artifacts(bench, fresh=fresh))

        made = typed(bench.call(make), _Made)
        manifest, unchanged = _publish(bench.workspace, image, made, progress)
        if made.key is not None:
            _remember(bench.earlier, made, manifest.version, progress)
        return Built(image / manifest.version, manifest, unchanged, _difference(bench.earlier.newest, manifest))


def build_again(
    recipe_file: RecipeFile, output: Path, cache: Path, progress: Progress, built: Built, pinned: Pinned | None = None
) -> tuple[Divergence, ...]:
    """Builds the same once more, elsewhere and from nothing that was installed before, and says what differs.

    Nothing is published or kept. HostError where the mirrors have other packages by now.
    """
    ids = preflight(recipe_file, output, pinned)
    first = compare.read_first(built.directory)
    with _open_bench(recipe_file, output, cache, progress, ids, pinned) as bench:

        def make() -> list[dict[str, Any]]:
            with open_packages(bench.kept, progress) as packages:
                context = bench.context(packages)
                lock = resolve.run(context)
                manifest, index = _run_stages(context, lock, fresh=True, keep=False)
                return [dataclasses.asdict(one) for one in compare.run(context, manifest, index, first)]

        return tuple(typed(one, Divergence) for one in bench.call(make))


@dataclass(frozen=True)
class _Made:
    """What was made in the user namespace.

    key: what decides the version, where it has a name; version: that of an earlier build, where nothing was made
    warnings: of the image, not of the moment
    """

    key: str | None
    version: Version | None
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Bench:
    """What one build works with; `kept` is the cache of its ids."""

    recipe_file: RecipeFile
    ids: IdMap
    workspace: Workspace
    kept: HeldDirectory
    runner: Runner
    progress: Progress
    earlier: Earlier
    pinned: Pinned | None

    def context(self, packages: HeldDirectory) -> Context:
        """That of its stages; in the user namespace."""
        return make_context(self.recipe_file, self.workspace, packages, self.runner, self.progress, self.pinned)

    def call(self, function: Callable[[], Any]) -> Any:  # noqa: ANN401 - any JSON
        """What `function` returns, called in the user namespace, in the work directory."""

        def run() -> dict[str, Any]:
            self.workspace.move_in()
            value = function()
            return {"progress": self.progress.state(), "value": value}

        directories = () if self.pinned is None else self.pinned.directories
        done = call_inside(self.ids, run, (self.workspace.path, self.kept.path, self.earlier.image, *directories))
        self.progress.adopt(done["progress"])
        return done["value"]


@contextlib.contextmanager
def _open_bench(
    recipe_file: RecipeFile,
    output: Path,
    cache: Path,
    progress: Progress,
    ids: IdMap,
    pinned: Pinned | None,
    *,
    keep_failed: bool = False,
) -> Iterator[_Bench]:
    image = output / recipe_file.recipe.image
    with (
        hold_build_cache(cache, ids, progress.note) as kept,
        hold_results(kept, progress.note) as results,
        open_workspace(
            hold_work(output, progress.note), progress.note, progress.warn, keep_failed=keep_failed
        ) as workspace,
        _keep_failed_log(workspace, image, progress),
        Runner(workspace.path / LOG, progress.output) as runner,
    ):
        earlier = Earlier(results, image, newest_of(image))
        yield _Bench(recipe_file, ids, workspace, kept, runner, progress, earlier, pinned)


def _make_artifacts(bench: _Bench, *, fresh: bool) -> _Made:
    """Everything that touches the tree; in the user namespace whose ids its owners are."""
    progress = bench.progress
    with open_packages(bench.kept, progress) as packages:
        context = bench.context(packages)
        lock = resolve.run(context)
        key, version = reuse.run(context, lock, bench.earlier, fresh=fresh)
        if version is not None:
            return _Made(key, version, progress.warnings)
        manifest, index = _run_stages(context, lock, fresh=fresh)
        readback.run(context, manifest)
        report.run(context, manifest, index, _difference(bench.earlier.newest, manifest))
        hand_over(bench.workspace.artifacts)
        # what stays is told of with the rest of the work directory
        with progress.step("clean"), contextlib.suppress(OSError, HostError):
            remove_tree(bench.workspace.tree)
    return _Made(key, None, progress.warnings)


def _run_stages(context: Context, lock: Lock, *, fresh: bool, keep: bool = True) -> tuple[Manifest, Index]:
    """From the lock to the artifacts; `keep`: whether the next build may take the installed tree."""
    epoch = fetch.run(context, lock)
    install.run(context, lock, epoch, fresh=fresh, keep=keep)
    configure.run(context, epoch)
    scripts.run(context, epoch)
    identity.run(context)
    updates.run(context, epoch)
    kernel = initramfs.run(context, epoch)
    scrub.run(context, epoch)
    audit.run(context)
    return pack.run(context, lock, kernel, epoch)


def preflight(recipe_file: RecipeFile, output: Path, pinned: Pinned | None = None) -> IdMap:
    """The ids that the image's owners get.

    Raises HostError at once for whatever this machine lacks or forbids: ids, tools, namespaces, disk space.
    """
    recipe = recipe_file.recipe
    require_execution(output)
    ids = prepare_host(recipe, output, pinned)
    if any(script.network for script in recipe.scripts):
        require_outside()
    free = free_bytes(output)
    if free < _NEEDED_BYTES:
        raise HostError(
            f"{output} has {free / 1e9:.1f} GB free, a build needs about {_NEEDED_BYTES / 1e9:.0f} GB",
            "free some space, or choose another place with --output",
        )
    return ids


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


def _publish(workspace: Workspace, image: Path, made: _Made, progress: Progress) -> tuple[Manifest, bool]:
    """Gives the artifacts their name; whether the version was there already, in which case it stays as it is."""
    with hold_image(image.parent, image.name, progress.note) as held:
        if made.version is not None:
            held.point(LATEST, made.version)
            held.unlink(FAILED_LOG)
            return read_manifest(image / made.version), True
        shutil.copyfile(workspace.path / LOG, workspace.artifacts / LOG)
        manifest = read_manifest(workspace.artifacts)
        if is_damaged(held, manifest):
            progress.warn(f"{image / manifest.version} was damaged: it is replaced by what was built just now")
            carry_signature(held, manifest.version, workspace.artifacts)
            with HeldDirectory.at(workspace.path) as work:
                held.rename(manifest.version, work, "damaged")
        unchanged = publish_version(workspace.artifacts, held, manifest)[1]
        held.unlink(FAILED_LOG)
        return manifest, unchanged


def _remember(earlier: Earlier, made: _Made, version: Version, progress: Progress) -> None:
    """The next build is only slower without it."""
    assert made.key is not None
    try:
        earlier.keep(made.key, version, made.warnings)
    except (OSError, DisklessError) as error:
        progress.warn(f"the next build will not know that nothing changed: {error}")


def _difference(previous: Manifest | None, manifest: Manifest) -> Difference | None:
    if previous is None or previous.root_digest == manifest.root_digest:
        return None
    return compare_manifests(previous, manifest)
