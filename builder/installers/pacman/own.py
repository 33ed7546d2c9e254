"""Package files that a recipe names: a repository of copies of them."""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import replace
from pathlib import Path

from builder.distributions.pacman import RECIPE_REPOSITORY
from builder.installers.base import Job
from builder.installers.keyrings.content import require_archive
from builder.system.run import Tool, require_tools

_PLAIN_NAME = re.compile(r"[A-Za-z0-9@_+.:-]+")
_REPO_ADD = Tool("repo-add", "makepkg", "pacman")


def make_repository(job: Job, files: tuple[str, ...]) -> Path:
    """A repository of the recipe's package files, so that they are resolved together with all others."""
    require_tools((_REPO_ADD,))
    directory = job.work / "package-files"
    directory.mkdir()
    for path in files:
        require_archive(Path(path))
    copies = [Path(shutil.copy(path, directory / _plain(path))) for path in files]
    # sha256sum(1), which it calls, escapes a file's name, and says so before the sum
    names = [job.sandbox.name(path) for path in (directory / f"{RECIPE_REPOSITORY}.db.tar.gz", *copies)]
    # it evaluates what a package says of itself
    sandbox = replace(job.sandbox, only=(directory, job.sandbox.temporary))
    sandbox.run(["repo-add", "--quiet", *names], hint="are all package_files pacman packages?")
    return directory


def _plain(path: str) -> str:
    """A file's name for a URL and for pacman's output, which calls a package by its metadata and not by this."""
    name = Path(path).name
    if _PLAIN_NAME.fullmatch(name):
        return name
    return f"{hashlib.sha256(path.encode()).hexdigest()[:16]}.pkg.tar{name.rpartition('.pkg.tar')[2]}"
