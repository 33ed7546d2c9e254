"""`diskless refresh --to DIR IMAGE`"""

from __future__ import annotations

import json
from pathlib import Path

import click

from builder.cli.options import json_option, store_option
from builder.cli.reporting import reports_progress
from builder.deploy import refresh as run_refresh
from builder.system.progress import Progress


@click.command()
@click.argument("image")
@store_option
@click.option("--kernel", metavar="RELEASE", help="Which, if the root has several; left out: the newest.")
@reports_progress
@json_option
def refresh(image: str, store: Path, kernel: str | None, as_json: bool, progress: Progress) -> None:
    """Serve the kernel that a client of a read-write root installed into its /boot.

    Kernel, initramfs and the root's modules must be of one release.
    """
    done = run_refresh(store, image, kernel, progress)
    if as_json:
        result = None if done is None else {"generation": done[0].number, "active": done[0].active}
        click.echo(json.dumps({"unchanged": done is None, **(result or {})}, indent=1))
    elif done is None:
        click.echo(f"{image}: clients boot that kernel already")
    else:
        click.echo(f"{image} {done[1]}: generation {done[0].number}; clients boot it next")
