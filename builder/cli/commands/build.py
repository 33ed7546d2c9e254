"""`diskless build RECIPE`"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path

import click

from builder.build import Built
from builder.build import build as run_build
from builder.cli.options import cache_option, json_option, output_option, packages_option, recipe_argument
from builder.cli.reporting import reports_progress
from builder.cli.typed import as_typed
from builder.model.artifacts.difference import transfer_size
from builder.model.text.quantity import format_bytes
from builder.output.versions import LATEST
from builder.progress.progress import Progress
from builder.reading import load_recipe
from builder.reading.lock import load_lock
from builder.render.report.summary import summary
from builder.stages.context import Pinned


@click.command()
@recipe_argument
@output_option
@cache_option
@json_option
@reports_progress
@click.option("--locked", is_flag=True, help="Take exactly what the lock beside RECIPE names, and trust its checksums.")
@packages_option
@click.option("--fresh", is_flag=True, help="Build anew, and take nothing that an earlier build made.")
@click.option("--keep-failed", is_flag=True, help="Keep the tree of a build that fails, for `diskless shell`.")
def build(
    recipe: Path,
    output: Path,
    cache: Path,
    as_json: bool,
    locked: bool,
    packages: tuple[Path, ...],
    fresh: bool,
    keep_failed: bool,
    progress: Progress,
) -> None:
    """Build the image of RECIPE into OUTPUT/IMAGE/VERSION.

    Prints the directory of the version. Needs no root, but subordinate ids: `diskless doctor` says what is missing.
    """
    if packages and not locked:
        raise click.UsageError("--packages is for --locked builds: only a lock says which files there are meant")
    pinned = Pinned(load_lock(recipe), packages) if locked else None
    built = run_build(load_recipe(recipe), output, cache, progress, pinned=pinned, fresh=fresh, keep_failed=keep_failed)
    result = _result(built, progress)
    for line in summarize(built, progress.seconds):
        progress.note(line)
    click.echo(json.dumps(result, indent=1) if as_json else built.directory)
    progress.result(result)


def summarize(built: Built, seconds: Mapping[str, float]) -> tuple[str, ...]:
    """The closing lines of a build."""
    unchanged = ("nothing changed: this version was there already",) if built.unchanged else ()
    boot = as_typed(f"diskless boot {shlex.quote(str(built.directory.parent / LATEST))}")
    transfer = f"to transfer: {format_bytes(transfer_size(built.manifest))}"
    return (
        *unchanged,
        *summary(built.manifest, built.difference, seconds, boot, transfer),
    )


def _result(built: Built, progress: Progress) -> dict[str, object]:
    manifest = built.manifest
    return {
        "directory": str(built.directory),
        "image": manifest.image,
        "version": manifest.version,
        "root_digest": manifest.root_digest,
        "kernel": manifest.kernel,
        "packages": len(manifest.packages),
        "unchanged": built.unchanged,
        "artifacts": {name: vars(artifact) for name, artifact in manifest.artifacts.items()},
        "seconds": {name: round(seconds, 1) for name, seconds in progress.seconds.items()},
    }
