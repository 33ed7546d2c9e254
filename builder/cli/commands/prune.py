"""`diskless prune --to DIR`"""

from __future__ import annotations

import json
from pathlib import Path

import click

from builder.cli.options import Duration, json_option, store_option
from builder.cli.reporting import reports_progress
from builder.deploy import prune as run_prune
from builder.progress.progress import Progress
from builder.store.pruning import DEFAULT_AGE, Decision, PruneOptions


@click.command()
@store_option
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    metavar="N",
    help="Versions of each image to keep.",
)
@click.option(
    "--min-age",
    type=Duration(),
    default=f"{DEFAULT_AGE // 86400}d",
    show_default=True,
    metavar="TIME",
    help="How long ago clients must have booted it last: 90s, 30m, 12h, 7d.",
)
@click.option("--force", is_flag=True, help="Whatever its age; what is known to be in use stays all the same.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@reports_progress
@json_option
def prune(store: Path, keep: int, min_age: int, force: bool, dry_run: bool, as_json: bool, progress: Progress) -> None:
    """Remove versions that no client needs.

    What is active, pinned or known to be in use stays.

    NFS servers mostly cannot tell which versions clients use, so a version that clients booted lately stays.
    """
    decisions = run_prune(store, PruneOptions(keep, min_age, force), progress, dry_run=dry_run)
    if as_json:
        click.echo(json.dumps([vars(decision) for decision in decisions], indent=1))
    else:
        click.echo("\n".join(_describe(decision, dry_run) for decision in decisions))


def _describe(decision: Decision, dry_run: bool) -> str:
    name = f"{decision.image} {decision.version}"
    if decision.reason is None:
        return f"{'would remove' if dry_run else 'removed'} {name}"
    return f"{'refused' if decision.refused else 'kept'} {name}: {decision.reason}"
