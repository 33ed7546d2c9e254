"""`diskless build RECIPE`"""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from builder.build import Built, build_again
from builder.build import build as run_build
from builder.cli.options import cache_option, json_option, output_option, packages_option, recipe_argument
from builder.cli.reporting import reports_progress
from builder.cli.typed import as_typed
from builder.errors import AuditError
from builder.model.artifacts.difference import transfer_size
from builder.model.text.quantity import format_bytes
from builder.output.versions import LATEST
from builder.progress.progress import Progress
from builder.reading import load_recipe
from builder.reading.lock import load_lock
from builder.render.report.summary import summary
from builder.stages.compare import Divergence
from builder.stages.context import Pinned

_MOST_SHOWN = 20


@click.command()
@recipe_argument
@output_option
@cache_option
@json_option
@reports_progress
@click.option("--locked", is_flag=True, help="Take exactly what the lock beside RECIPE names, and trust its checksums.")
@packages_option
@click.option(
    "--twice",
    is_flag=True,
    help="Then build the same once more, from nothing that was installed, and fail where any byte differs.",
)
@click.option("--fresh", is_flag=True, help="Build anew, and take nothing that an earlier build made.")
@click.option("--keep-failed", is_flag=True, help="Keep the tree of a build that fails, for `diskless shell`.")
def build(
    recipe: Path,
    output: Path,
    cache: Path,
    as_json: bool,
    locked: bool,
    packages: tuple[Path, ...],
    twice: bool,
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
    file = load_recipe(recipe)
    built = run_build(file, output, cache, progress, pinned=pinned, fresh=fresh, keep_failed=keep_failed)
    differ = build_again(file, output, cache, progress, built, pinned) if twice else ()
    result = _result(built, progress)
    if twice:
        result["differ"] = [dataclasses.asdict(one) for one in differ]
        progress.note("built twice: " + (f"{len(differ)} files differ" if differ else "the same to the byte"))
    for line in summarize(built, progress.seconds):
        progress.note(line)
    click.echo(json.dumps(result, indent=1) if as_json else built.directory)
    progress.result(result)
    if differ:
        raise AuditError(
            f"two builds of the same differ in {len(differ)} files",
            "the version stays, but is not of its recipe alone: take away what made these files differ",
            tuple(difference_lines(differ)),
        )


def difference_lines(differ: Sequence[Divergence]) -> list[str]:
    """What differs, by package, and what is known of such files under them."""
    lines: list[str] = []
    groups: dict[tuple[str, str], list[Divergence]] = {}
    for one in differ:
        groups.setdefault((one.package, one.reason), []).append(one)
    for (package, reason), members in groups.items():
        lines.append(f"{package or 'no package'}:")
        lines += [f"  {one.path}  {', '.join(one.what)}" for one in members[:_MOST_SHOWN]]
        if len(members) > _MOST_SHOWN:
            lines.append(f"  and {len(members) - _MOST_SHOWN} more")
        lines.append(f"  known of such files: {reason}" if reason else "  nothing is known of why")
    return lines


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
