"""reuse: the version that an earlier build gave from the same inputs, where it is there still, byte for byte."""

from __future__ import annotations

import os
from pathlib import Path

from builder.cache import key_of, made_under
from builder.model.artifacts.lock import Lock
from builder.model.version import Version
from builder.output.built import Earlier
from builder.stages.context import Context
from builder.stages.parts.versions import packing_versions


def run(context: Context, lock: Lock, earlier: Earlier, *, fresh: bool) -> tuple[str | None, Version | None]:
    """The name of what decides this version, and the version where it is there already; its warnings are said again.

    The name is None where something decides that nobody can name: what a script reads from the network.
    """
    progress = context.progress
    with progress.step("reuse"):
        if any(script.network for script in context.recipe.scripts):
            progress.note("a script has the network: the image is built anew each time")
            return None, None
        key = _key(context, lock)
        result = None if fresh else earlier.find(key)
        if result is None:
            return key, None
        for warning in result.warnings:
            if warning not in progress.warnings:  # asking the mirrors gave some again
                progress.warn(warning)
        return key, result.version


def _key(context: Context, lock: Lock) -> str:
    """Of the recipe and all that it takes in, every package, and what of the host its programs see or it is made by."""
    parts = {
        "recipe": (context.recipe_file.sha256, context.recipe),
        "packages": (lock.packages, lock.loaders),
        "installer": context.installer.inputs(),
        "programs": [_file(tool.find()) for tool in context.installer.tools()],
        "tools": sorted(packing_versions().items()),
        "place": made_under(context.workspace.inside),
        "SOURCE_DATE_EPOCH": os.environ.get("SOURCE_DATE_EPOCH"),
        "locked epoch": None if context.pinned is None else context.pinned.file.epoch,
    }
    for name, value in parts.items():
        context.progress.output(f"decides the version: {name} {key_of(value)[:16]}")
    return key_of(*parts.items())


def _file(path: str | None) -> tuple[object, ...]:
    """What tells a program from the one that an update of the host puts in its place."""
    if path is None:
        return ()
    info = Path(path).stat()
    return path, info.st_size, info.st_mtime_ns
