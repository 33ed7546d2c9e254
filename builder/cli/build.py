"""`diskless build RECIPE`"""

from __future__ import annotations

import json
from pathlib import Path

import click

from builder.build import Built
from builder.build import build as run_build
from builder.cli.options import cache_option, json_option, output_option, quiet_option, recipe_argument
from builder.loader import load_recipe
from builder.system.progress import Progress


@click.command()
@recipe_argument
@output_option
@cache_option
@quiet_option
@json_option
def build(recipe: Path, output: Path, cache: Path, quiet: bool, as_json: bool) -> None:
    """Build the image of RECIPE into OUTPUT/IMAGE/VERSION.

    Prints the directory of the version. Needs root.
    """
    progress = Progress(quiet=quiet)
    built = run_build(load_recipe(recipe), output, cache, progress)
    click.echo(json.dumps(_result(built, progress), indent=1) if as_json else built.directory)
    if built.unchanged:
        progress.note("nothing changed: this version was there already")


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
