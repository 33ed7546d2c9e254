"""reuse: the version that an earlier build gave from the same inputs, where it is there still, byte for byte."""

from __future__ import annotations

import os
from pathlib import Path

from builder.cache import key_of
from builder.model.artifacts.lock import Lock
from builder.model.version import Version
from builder.output.built import RESULTS, Result, find_result, whole_version
from builder.stages.context import Context
from builder.stages.pack import tools
from builder.system.guarded.held import HeldDirectory


def run(
    context: Context, lock: Lock, cache: HeldDirectory, image: Path, *, fresh: bool
) -> tuple[str | None, Version | None]:
    """The name of what decides this version, and the version where it is there already; its warnings are said again.

    The name is None where something decides that nobody can name: what a script reads from the network.
    """
    if any(script.network for script in context.recipe.scripts):
        context.progress.output("a script has the network: this is built anew each time")
        return None, None
    key = _key(context, lock)
    with cache.enter(RESULTS) as results:
        result = None if fresh else find_result(results, key)
    if result is None or not _is_there(image, result):
        return key, None
    for warning in result.warnings:
        if warning not in context.progress.warnings:  # asking the mirrors gave some again
            context.progress.warn(warning)
    return key, result.version


def _key(context: Context, lock: Lock) -> str:
    """Of the recipe and all that it takes in, every package, and every program of the host that decides bytes."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    parts = {
        "recipe": (context.recipe_file.sha256, context.recipe),
        "packages": (lock.packages, lock.loaders),
        "installer": context.installer.inputs(),
        "tools": sorted(tools().items()),
        "SOURCE_DATE_EPOCH": epoch,
    }
    for name, value in parts.items():
        context.progress.output(f"decides the version: {name} {key_of(value)[:16]}")
    return key_of(*parts.items())


def _is_there(image: Path, result: Result) -> bool:
    try:
        with HeldDirectory.at(image.resolve()) as held:
            return whole_version(held, result) is not None
    except OSError:
        return False
