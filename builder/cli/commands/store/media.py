"""`diskless media IMAGE --store DIR --to FILE`"""

from __future__ import annotations

import json
from pathlib import Path

import click

from builder.cli.options import json_option
from builder.cli.reporting import reports_progress
from builder.media import make_medium
from builder.model.text.quantity import format_bytes
from builder.progress.progress import Progress
from builder.store.layout import find_store


@click.command()
@click.argument("image")
@click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="The store on this server, such as /disklessroot.",
)
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="The file to write, such as lab.iso or lab.img: it is both a CD and a disk.",
)
@reports_progress
@json_option
def media(image: str, store: Path, target: Path, as_json: bool, progress: Progress) -> None:
    """Write a CD or USB stick that boots an image of a store.

    For machines whose network card or firmware cannot boot from the network: loader, kernel and initramfs are on it,
    the root is the store's. It boots what IMAGE boots now; write it anew after a deploy.
    """
    made = make_medium(find_store(store), image, target, progress)
    if as_json:
        click.echo(json.dumps({"path": str(made.path), "size": made.size, "version": made.label, "uefi": made.uefi}))
        return
    kinds = "BIOS and UEFI" if made.uefi else "BIOS"
    click.echo(f"{made.path}: {format_bytes(made.size)}, boots {made.label} on {kinds}")
    if not made.uefi:
        progress.warn("the store serves no shim and GRUB, so UEFI does not boot it: deploy a version that has them")
