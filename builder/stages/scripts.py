"""scripts: the recipe's own programs, inside the finished tree."""

from __future__ import annotations

import hashlib
from pathlib import Path

from builder.errors import CommandError
from builder.model.recipe.script import RanScript, Script
from builder.stages.context import Context
from builder.system.host import proxy_variables
from builder.system.sandbox.network import NetworkAccess

_DIRECTORY = "/run/diskless/scripts"  # in the tree's own tmpfs: nothing of it stays


def run(context: Context, epoch: int) -> None:
    """Runs every script in order; CommandError, with its last lines, for the first that fails."""
    scripts = context.recipe.scripts
    if not scripts:
        return
    with context.progress.step("scripts"):
        directory = _write(context, scripts)
        for number, script in enumerate(scripts, 1):
            with context.progress.step(script.source):
                _run_one(context, script, _name(number, script), directory, epoch)


def ran_scripts(context: Context) -> tuple[RanScript, ...]:
    """What the manifest says of them."""
    sources = context.recipe_file.sources
    return tuple(
        RanScript(script.source, hashlib.sha256(sources[script.source]).hexdigest(), script.network)
        for script in context.recipe.scripts
    )


def _write(context: Context, scripts: tuple[Script, ...]) -> Path:
    """The scripts as files that can be run, whatever their modes beside the recipe are."""
    directory = context.workspace.inside / "scripts"
    directory.mkdir()
    for number, script in enumerate(scripts, 1):
        path = directory / _name(number, script)
        path.write_bytes(context.recipe_file.sources[script.source])
        path.chmod(0o755)
    return directory


def _name(number: int, script: Script) -> str:
    return f"{number}-{Path(script.source).name}"


def _run_one(context: Context, script: Script, name: str, directory: Path, epoch: int) -> None:
    environment = {
        "SOURCE_DATE_EPOCH": str(epoch),
        "DISKLESS_IMAGE": context.recipe.image,
        "DEBIAN_FRONTEND": "noninteractive",
    }
    if script.network:
        environment |= proxy_variables()
    try:
        context.sandbox.run(
            [f"{_DIRECTORY}/{name}"],
            chroot=context.workspace.tree,
            network=NetworkAccess.OUTSIDE if script.network else NetworkAccess.NONE,
            env=environment,
            mounts={_DIRECTORY: directory},
        )
    except CommandError as error:
        error.message = f"the script {script.source} failed: {error.message.rpartition(': ')[2]}"
        error.hint = "the lines above are its last; --keep-failed keeps the tree for `diskless shell`"
        raise
