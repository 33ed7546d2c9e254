"""`diskless refresh --to DIR`"""

from __future__ import annotations

from pathlib import Path

import click

from builder.cli.commands.store.adopt_kernel import adopt
from builder.cli.generation import print_generation
from builder.cli.options import json_option, store_option
from builder.cli.reporting import reports_progress
from builder.deploy import refresh_menus
from builder.progress.progress import Progress


@click.command()
@click.argument("image", required=False, metavar="")
@store_option
@click.option("--kernel", hidden=True)
@reports_progress
@json_option
def refresh(store: Path, image: str | None, kernel: str | None, as_json: bool, progress: Progress) -> None:
    """Serve what site.yml says now.

    Menus take its pins, kernel arguments and clients. `diskless deploy` does so as well.
    """
    if image is None and kernel is not None:
        raise click.UsageError("--kernel is an option of `diskless adopt-kernel IMAGE`")
    if image is not None:
        # 0.1 had one command for both; remove this in 0.3
        progress.warn(f"`diskless refresh {image}` is now called `diskless adopt-kernel {image}`")
        adopt(store, image, kernel, as_json=as_json, progress=progress)
        return
    generation = refresh_menus(store, progress)
    unchanged = f"{store}: the menus are as site.yml says already"
    print_generation(generation, "menus", unchanged, as_json=as_json, progress=progress)
