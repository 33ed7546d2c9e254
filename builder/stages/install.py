"""install: the packages, into an empty tree."""

from __future__ import annotations

from builder.cache import key_of, made_under
from builder.errors import AuditError, HostError
from builder.model.artifacts.lock import Lock
from builder.stages.context import Context
from builder.stages.scrub import empty_mount_points


def run(context: Context, lock: Lock, epoch: int, *, fresh: bool, keep: bool = True) -> None:
    """Fills the tree: from the cache, where an earlier build installed exactly the same, unless it is to be `fresh`.

    keep: whether the cache gets it
    """
    progress, tree = context.progress, context.workspace.tree
    with progress.step("install"):
        circumstances = made_under(context.workspace.inside)
        key = key_of(context.recipe.distribution, lock.packages, epoch, context.installer.inputs(), circumstances)
        if not fresh and context.trees.take(key, tree, progress.tick):
            progress.note("as an earlier build installed it; --fresh installs anew")
            return
        warned = len(progress.warnings)
        context.installer.install(lock, epoch)
        if keep and len(progress.warnings) == warned:  # a copy would not warn again
            _keep(context, key, epoch)


def _keep(context: Context, key: str, epoch: int) -> None:
    """The next build is only slower without it."""
    empty_mount_points(context.tree)
    try:
        with context.progress.step("keep"):
            context.trees.keep(key, context.workspace.tree, epoch, context.progress.tick)
    except (AuditError, HostError, OSError) as error:
        context.progress.note(f"the installed packages are not kept for the next build: {error}")
