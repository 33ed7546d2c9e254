"""`diskless rollback --to DIR [IMAGE [VERSION]]`"""

from __future__ import annotations

import json
from pathlib import Path

import click

from builder.cli.options import json_option, store_option
from builder.cli.reporting import reports_progress, show
from builder.cli.transfer import state_option
from builder.deploy import rollback as run_rollback
from builder.progress.progress import Progress


@click.command()
@click.argument("image", required=False)
@click.argument("version", required=False)
@store_option
@click.option("--allow-revoked", is_flag=True, help="Also to a version whose signer's key was revoked.")
@state_option
@reports_progress
@json_option
def rollback(
    image: str | None,
    version: str | None,
    store: Path,
    allow_revoked: bool,
    state: Path,
    as_json: bool,
    progress: Progress,
) -> None:
    """Let clients boot an earlier version again.

    It is the version that was active before, or the one named; without IMAGE that of the image that changed last.
    Twice is back where it began. Running clients are not disturbed.
    """
    generation = run_rollback(store, image, version, progress, allow_revoked=allow_revoked, state=state)
    if as_json:
        show(json.dumps({"generation": generation.number, "active": generation.active}, indent=1))
    else:
        show(f"{generation.reason}: generation {generation.number}; clients boot it next")
