"""lock: exactly which packages a recipe means today, written down beside it."""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.cache import hold_build_cache
from builder.errors import InputError
from builder.installers.locked import keep_files
from builder.model.artifacts.lock import Lock
from builder.model.artifacts.lock_change import LockChange, compare_locks
from builder.model.artifacts.lock_file import Lasting, LockFile, asked_of, differences, lines_of
from builder.model.artifacts.manifest import LOG
from builder.progress.progress import Progress
from builder.reading import RecipeFile
from builder.reading.lock import lock_path, read_lock
from builder.stages import fetch, resolve
from builder.stages.context import Context, Pinned
from builder.stages.parts.opening import make_context, open_packages, prepare_host
from builder.stages.parts.versions import program_versions
from builder.system.files import make_directory, write_atomic
from builder.system.guarded.private import own_directory
from builder.system.run import Runner
from builder.system.userns.inside import call_inside, hand_over
from builder.system.workspace import WORK, Workspace, open_workspace


@dataclass(frozen=True)
class LockOptions:
    """What `diskless lock` is to do.

    update: resolve anew where there is a lock; dry_run: write nothing
    keep: the directory that all packages are copied to; directories: where package files may lie besides
    """

    update: bool = False
    dry_run: bool = False
    keep: Path | None = None
    directories: tuple[Path, ...] = ()


@dataclass(frozen=True)
class LockPlan:
    """A lock that is not written yet, and where it belongs.

    change: from the lock that is there, None where there is none
    """

    path: Path
    file: LockFile
    change: LockChange | None
    is_new: bool

    def write(self) -> None:
        """Changes the file whole, or not at all."""
        if self.is_new:
            write_atomic(self.path, self.file.to_json().encode(), 0o644)


def lock(recipe_file: RecipeFile, cache: Path, progress: Progress, options: LockOptions) -> LockPlan:
    """The lock of a recipe, with `update` made anew; one that is there already is only looked at otherwise.

    InputError where that one is of something else than the recipe asks for. Packages are fetched: what a lock says of
    one was seen.
    """
    path = lock_path(recipe_file.path)
    old = read_lock(recipe_file.path)
    if old is not None and not options.update:
        _require_answer(recipe_file, old, path)
    pinned = None if old is None or options.update else Pinned(old, options.directories)
    ids = prepare_host(recipe_file.recipe, cache, pinned)
    with (
        hold_build_cache(cache, ids, progress.note) as kept,
        open_workspace(own_directory(kept, WORK, progress.note, 0o700), progress.note, progress.warn) as workspace,
        Runner(workspace.path / LOG, progress.output) as runner,
    ):

        def run() -> dict[str, Any]:
            workspace.move_in()
            with open_packages(kept, progress) as packages:
                context = make_context(recipe_file, workspace, packages, runner, progress, pinned)
                text = _lock_inside(context, workspace, options)
            return {"progress": progress.state(), "text": text}

        done = call_inside(ids, run, (workspace.path, kept.path, *options.directories))
        progress.adopt(done["progress"])
        if options.keep is not None and not options.dry_run:
            _give(workspace.artifacts, options.keep)
    new = LockFile.from_json(done["text"])
    return LockPlan(path, new, None if old is None else compare_locks(old, new), new != old)


def _require_answer(recipe_file: RecipeFile, old: LockFile, path: Path) -> None:
    changed = differences(asked_of(recipe_file.recipe), old.asked)
    if changed:
        message = f"{path} is of something else than the recipe asks for now"
        raise InputError(message, "`diskless lock --update` locks that, and shows what it changes", tuple(changed))


def _lock_inside(context: Context, workspace: Workspace, options: LockOptions) -> str:
    """The lock file's text; packages to keep are among the artifacts then."""
    found = resolve.run(context)
    if context.pinned is None:
        lent, origins = context.installer.lend()
        found = dataclasses.replace(found, lent=lent, origins={**found.origins, **origins})
        file = _written_down(context, found, fetch.run(context, found), options)
    else:
        file = context.pinned.file
        if options.keep is not None:
            with context.progress.step("fetch"):
                context.installer.fetch(found)
            file = dataclasses.replace(file, lasts=Lasting.KEPT)
    if options.keep is not None and not options.dry_run:
        with context.progress.step("keep"):
            keep_files(found, workspace.installer / "repository", workspace.artifacts)
    hand_over(workspace.artifacts)
    return file.to_json()


def _written_down(context: Context, found: Lock, epoch: int, options: LockOptions) -> LockFile:
    recipe = context.recipe
    return LockFile(
        image=recipe.image,
        distribution=recipe.distribution.name,
        release=recipe.distribution.release,
        asked=asked_of(recipe),
        epoch=epoch,
        lasts=Lasting.KEPT if options.keep is not None else _lasting(found, recipe.distribution.snapshot),
        tools=program_versions(context),
        packages=lines_of(found.packages, found.origins),
        loaders=lines_of(found.loaders, found.origins),
        recommended=found.recommended,
        lent=lines_of(found.lent, found.origins),
    )


def _lasting(found: Lock, day: str | None) -> Lasting:
    """A server of days that have passed drops nothing: that of Debian and that of Arch Linux write them so."""
    if day is None:
        return Lasting.NOT
    moments = (f"/{day.replace('-', '')}T000000Z/", f"/{day.replace('-', '/')}/")
    places = [origin.urls for origin in found.origins.values() if origin.urls]
    last = all(any(moment in url for url in urls for moment in moments) for urls in places)
    return Lasting.SNAPSHOT if last else Lasting.NOT


def _give(made: Path, keep: Path) -> None:
    """Moves what was made into the user's directory, where it is open to others, as builds need it."""
    make_directory(keep, 0o755)
    for file in sorted(made.iterdir()):
        part = keep / f".tmp-{file.name}"
        try:
            shutil.move(file, part)
            part.chmod(0o644)
            part.replace(keep / file.name)
        finally:
            part.unlink(missing_ok=True)
