"""What comes before the first stage: whether this machine can, the package cache, and the context of all stages."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from builder.cache import PACKAGES, TreeCache
from builder.distributions.table import distro_of
from builder.installers.base import Job
from builder.installers.keyrings.content import require_public_keys
from builder.installers.registry import INSTALLERS
from builder.model.recipe import Recipe
from builder.progress.progress import Progress
from builder.reading import RecipeFile
from builder.stages.context import Context, Pinned
from builder.system.guarded.held import HeldDirectory
from builder.system.guarded.private import keep_private, own_directory
from builder.system.privileges.permissions import IMAGE, require_permissions
from builder.system.run import Runner, require_tools
from builder.system.sandbox.sandbox import TOOLS, Sandbox, require_open
from builder.system.userns.ids import IdMap, find_ids
from builder.system.workspace import Workspace


def owners(recipe: Recipe) -> set[int]:
    """The numbers of users and groups that a recipe names."""
    numbers = {int(number) for file in recipe.files for number in file.owner.split(":")}
    numbers |= {group.gid for group in recipe.system.groups}
    return numbers | {user.uid for user in recipe.system.users if user.uid is not None}


def prepare_host(recipe: Recipe, place: Path, pinned: Pinned | None = None) -> IdMap:
    """The ids that the image's owners get; HostError for the tools, ids, and rights that a build lacks in `place`."""
    installer = INSTALLERS[distro_of(recipe).manager]
    require_tools((*TOOLS, *installer.tools()))
    ids = find_ids(owners(recipe))
    require_permissions(IMAGE, "a build", place, ids)
    readable = installer.readable(recipe) if pinned is None else pinned.directories
    require_open(readable)
    if pinned is None:
        for path in readable:
            require_public_keys(path)
    return ids


@contextlib.contextmanager
def open_packages(kept: HeldDirectory, progress: Progress) -> Iterator[HeldDirectory]:
    """The package cache; package managers leave what they fetch open to others, whatever the umask."""
    with own_directory(kept, PACKAGES, progress.note) as packages:
        keep_private(packages, progress.note)
        try:
            yield packages
        finally:
            keep_private(packages, lambda text: None)


def make_context(
    recipe_file: RecipeFile,
    workspace: Workspace,
    cache: HeldDirectory,
    runner: Runner,
    progress: Progress,
    pinned: Pinned | None = None,
) -> Context:
    """The context of the stages; `cache` is that of packages."""
    recipe = recipe_file.recipe
    installer = INSTALLERS[distro_of(recipe).manager]
    packages = cache.path
    sandbox = Sandbox(
        runner,
        directory=workspace.view,
        writable=(workspace.inside, packages),
        temporary=workspace.temporary,
        readable=installer.readable(recipe),
        places={"/run/diskless/work": workspace.inside, "/run/diskless/packages": packages},
    )
    job = Job(recipe, sandbox, workspace.tree, workspace.installer, packages, progress)
    trees = TreeCache(packages.parent, progress.note)
    return Context(recipe_file, workspace, sandbox, installer(job), progress, trees, pinned)
