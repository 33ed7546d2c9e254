"""A build that has come as far as some stage, in a tree with a few of the host's programs.

For tests with the mark `inside`.
"""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from builder.cache import TreeCache
from builder.installers.base import Installer
from builder.progress.progress import Progress
from builder.reading import load_recipe
from builder.stages.context import Context
from builder.system.guarded.private import made_directory
from builder.system.run import Runner
from builder.system.sandbox.sandbox import Sandbox
from builder.system.workspace import open_workspace
from tests.images import write_recipe
from tests.integration.builds.test_sandbox import small_tree


@contextlib.contextmanager
def staged(place: Path, base: str = "debian-nfs", **changes: Any) -> Iterator[Context]:
    """The recipe lies in PLACE/recipe, where files of it may be already."""
    (place / "recipe").mkdir(parents=True, exist_ok=True)
    recipe = load_recipe(write_recipe(place / "recipe", base, **changes))
    with (
        open_workspace(made_directory(place / "work", 0o700), print) as workspace,
        Runner(workspace.path / "build.log") as runner,
    ):
        workspace.move_in()
        shutil.copytree(small_tree(), workspace.tree, symlinks=True)
        sandbox = Sandbox(runner, directory=workspace.view, writable=(workspace.inside,), temporary=workspace.temporary)
        nobody = cast("Installer", None)  # installing is over
        yield Context(recipe, workspace, sandbox, nobody, Progress(io.StringIO()), TreeCache(place, print))


def log(context: Context) -> list[str]:
    """The lines of the build log."""
    return context.sandbox.runner.since(0)
