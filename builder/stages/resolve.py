"""resolve: which packages exactly."""

from __future__ import annotations

from pathlib import Path

from builder.errors import InputError
from builder.installers.base import PackageSources
from builder.model.artifacts.lock import Lock
from builder.model.artifacts.lock_file import asked_of, differences
from builder.stages.context import Context, Pinned
from builder.stages.parts.versions import program_versions


def run(context: Context) -> Lock:
    """The lock: from its file where the build is locked, else what the mirrors answer."""
    with context.progress.step("resolve"):
        lock = context.installer.resolve() if context.pinned is None else _adopt(context, context.pinned)
        context.progress.note(f"{len(lock.packages)} packages, {lock.size / 1e6:.0f} MB")
        return lock


def _adopt(context: Context, pinned: Pinned) -> Lock:
    changed = differences(asked_of(context.recipe), pinned.file.asked)
    if changed:
        raise InputError(
            "the recipe asks for something else than its lock is of",
            "`diskless lock --update` locks what it asks for now",
            tuple(changed),
        )
    lock = pinned.file.lock
    files = tuple(map(Path, context.recipe.distribution.package_files))
    context.installer.adopt(lock, PackageSources(pinned.directories, files))
    here = program_versions(context)
    others = [
        f"{name} {here.get(name, 'missing')} in place of {version}"
        for name, version in sorted(pinned.file.tools.items())
        if here.get(name) != version
    ]
    if others:
        context.progress.note(f"not what the lock was made with, so the version may be another: {', '.join(others)}")
    return lock
