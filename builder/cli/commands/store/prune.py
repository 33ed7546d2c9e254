"""`diskless prune --to DIR`"""

from __future__ import annotations

import json
from pathlib import Path

import click

from builder.cli.options import Duration, json_option, store_option
from builder.cli.reporting import reports_progress, show
from builder.deploy import prune as run_prune
from builder.errors import HostError
from builder.progress.progress import Progress
from builder.store.pruning import DEFAULT_AGE, Decision, Ground, PruneOptions

_FORCE = "--force takes what may be in use for unused"
_EVICT = "switch those clients off, or --evict: they lose their root at once"


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
@click.option("--force", is_flag=True, help="Whatever its age, and whoever may use it; what clients have open stays.")
@click.option("--evict", is_flag=True, help="Also what clients have open: they lose their root at once.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@reports_progress
@json_option
def prune(
    store: Path,
    keep: int,
    min_age: int,
    force: bool,
    evict: bool,
    dry_run: bool,
    as_json: bool,
    progress: Progress,
) -> None:
    """Remove versions that no client needs.

    What is active or pinned stays.

    NFS servers mostly cannot tell which versions clients use, so a version that clients booted lately stays, and one
    whose age is not known, since a clock jumped. What clients are said to use stays; anybody who reaches the server can
    say so, which --force does not listen to. A client of NFSv4 that has files of a version open is known to use it.

    The exit status is 3 where a version stays that should go, whatever the reason but its being too young.
    """
    decisions = run_prune(store, PruneOptions(keep, min_age, force, evict), progress, dry_run=dry_run)
    if as_json:
        show(json.dumps([decision.to_json() for decision in decisions], indent=1))
    else:
        show("\n".join(_describe(decision, dry_run) for decision in decisions))
    unmet = [decision for decision in decisions if decision.unmet]
    if unmet and not dry_run:
        names = ", ".join(f"{decision.image} {decision.version}" for decision in unmet)
        only_used = all(decision.ground is Ground.USED for decision in unmet)
        raise HostError(f"kept, though more than {keep}: {names}", _EVICT if only_used else _FORCE)


def _describe(decision: Decision, dry_run: bool) -> str:
    name = f"{decision.image} {decision.version}"
    if decision.ground is None:
        but = f", although {'; '.join(decision.disregarded)}" if decision.disregarded else ""
        return f"{'would remove' if dry_run else 'removed'} {name}{but}"
    return f"{'refused' if decision.refused else 'kept'} {name}: {decision.reason}"
