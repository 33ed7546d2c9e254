"""`diskless refresh --to DIR [IMAGE]`"""

from __future__ import annotations

import json
from pathlib import Path

import click

from builder.cli.options import json_option, store_option
from builder.cli.reporting import reports_progress
from builder.deploy import refresh as run_refresh
from builder.deploy import refresh_menus
from builder.progress.progress import Progress


@click.command()
@click.argument("image", required=False)
@store_option
@click.option("--kernel", metavar="RELEASE", help="Which, if the root has several; left out: the newest.")
@reports_progress
@json_option
def refresh(store: Path, image: str | None, kernel: str | None, as_json: bool, progress: Progress) -> None:
    """Serve what changed on the server since the last deploy.

    With IMAGE: the kernel that a client of its read-write root installed into its /boot; kernel, initramfs and the
    root's modules must be of one release. Without: what site.yml says now, such as pins and kernel arguments.
    """
    if image is None and kernel is not None:
        raise click.UsageError("--kernel is of an IMAGE: name it")
    if image is None:
        generation = refresh_menus(store, progress)
        what, unchanged = "menus", f"{store}: the menus are as site.yml says already"
    else:
        done = run_refresh(store, image, kernel, progress)
        generation = done[0] if done else None
        what, unchanged = f"{image} {done[1] if done else ''}", f"{image}: clients boot that kernel already"
    result = {} if generation is None else {"generation": generation.number, "active": dict(generation.active)}
    result = {"unchanged": generation is None, **result}
    if as_json:
        click.echo(json.dumps(result, indent=1))
    else:
        click.echo(f"{what}: generation {generation.number}; clients boot it next" if generation else unchanged)
    progress.result(result)
