"""`diskless lock RECIPE`"""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path

import click

from builder.cli.options import cache_option, json_option, packages_option, recipe_argument
from builder.cli.reporting import reports_progress, show
from builder.lock import LockOptions, LockPlan
from builder.lock import lock as make_lock
from builder.model.artifacts.lock_change import LockChange
from builder.model.artifacts.lock_file import Lasting
from builder.model.text.quantity import format_bytes
from builder.progress.progress import Progress
from builder.reading import load_recipe


@click.command()
@recipe_argument
@click.option("--update", is_flag=True, help="Lock what mirrors have today, and show what that changes.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and write nothing.")
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Copy all packages to DIR, since mirrors drop them; `build --locked --packages DIR` takes them from there.",
)
@packages_option
@cache_option
@json_option
@reports_progress
def lock(
    recipe: Path,
    update: bool,
    dry_run: bool,
    keep: Path | None,
    packages: tuple[Path, ...],
    cache: Path,
    as_json: bool,
    progress: Progress,
) -> None:
    """Write down which packages RECIPE means today.

    The lock lies beside the recipe (debian-nfs.lock for debian-nfs.yml): every package with its addresses and
    checksum, the boot loaders', the date, and the versions of all tools that decide bytes. `diskless build --locked`
    takes nothing else. A lock that is there stays as it is unless --update is given.
    """
    options = LockOptions(update=update, dry_run=dry_run, keep=keep, directories=packages)
    plan = make_lock(load_recipe(recipe), cache, progress, options)
    result = describe_lock(plan, written=plan.is_new and not dry_run)
    # shown before the file is another one
    show(json.dumps(result, indent=1) if as_json else "\n".join(_lines(plan, dry_run=dry_run)))
    if not dry_run:
        plan.write()
    if plan.file.lasts is Lasting.NOT:
        progress.warn(
            "this lock will not last: mirrors drop its packages when newer ones come. "
            "`diskless lock --keep DIR` copies them; distribution.snapshot takes them from where none is dropped"
        )
    progress.result(result)


def describe_lock(plan: LockPlan, *, written: bool) -> dict[str, object]:
    """The lock as --json prints it: what it changes, not each package."""
    file = plan.file
    return {
        "path": str(plan.path),
        "written": written,
        "image": file.image,
        "epoch": file.epoch,
        "lasts": str(file.lasts),
        "packages": len(file.packages),
        "loaders": len(file.loaders),
        "size": file.lock.size,
        "change": None if plan.change is None else dataclasses.asdict(plan.change),
    }


def _lines(plan: LockPlan, *, dry_run: bool) -> list[str]:
    file = plan.file
    what = f"{len(file.packages)} packages, {len(file.loaders)} of boot loaders, {format_bytes(file.lock.size)}"
    lines = [] if plan.change is None else change_lines(plan.change)
    if not plan.is_new:
        return [*lines, f"{plan.path}: nothing changed, {what}"]
    return [*lines, f"{plan.path}: {what}{', not written' if dry_run else ''}"]


def change_lines(change: LockChange) -> list[str]:
    """What a new lock changes, for people."""
    lines = [f"  recipe: {words}" for words in change.asked]
    lines += [f"  + {package}" for package in change.added]
    lines += [f"  - {package}" for package in change.removed]
    lines += [
        f"  {one.name} {one.old} -> {one.new}" if one.old != one.new else f"  {one.name} {one.new}: built again"
        for one in change.changed
    ]
    lines += [f"  tool: {words}" for words in change.tools]
    if change.epoch is not None:
        old, new = (datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S") for seconds in change.epoch)
        lines.append(f"  epoch: {old} -> {new} UTC")
    return lines
