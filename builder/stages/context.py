"""What every stage of a build is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from builder.cache import TreeCache
from builder.installers.base import Installer
from builder.model.artifacts.lock_file import LockFile
from builder.model.recipe import Recipe
from builder.progress.progress import Progress
from builder.reading import RecipeFile
from builder.system.sandbox.sandbox import Sandbox
from builder.system.tree import Tree
from builder.system.workspace import Workspace


@dataclass(frozen=True)
class Pinned:
    """What a locked build takes, and nothing else; directories: where package files may lie besides."""

    file: LockFile
    directories: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Context:
    """One build; nothing in it changes, what a stage finds out it returns."""

    recipe_file: RecipeFile
    workspace: Workspace
    sandbox: Sandbox
    installer: Installer
    progress: Progress
    trees: TreeCache
    pinned: Pinned | None = None

    @property
    def recipe(self) -> Recipe:
        """The recipe that is built."""
        return self.recipe_file.recipe

    @property
    def tree(self) -> Tree:
        """The root directory being built."""
        return Tree(self.workspace.tree)
