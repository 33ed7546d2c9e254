"""`diskless adopt-kernel --to DIR IMAGE`"""

from __future__ import annotations

from pathlib import Path

import click

from builder.cli.generation import print_generation
from builder.cli.options import json_option, store_option
from builder.cli.reporting import reports_progress
from builder.deploy import adopt_kernel as run_adopt_kernel
from builder.progress.progress import Progress


@click.command("adopt-kernel")
@click.argument("image")
@store_option
@click.option("--kernel", metavar="RELEASE", help="Which, if the root has several; left out: the newest.")
@reports_progress
@json_option
def adopt_kernel(store: Path, image: str, kernel: str | None, as_json: bool, progress: Progress) -> None:
    """Serve the kernel that a client installed in its root.

    A client of a read-write root installs it into its /boot, which no boot loader reads. Kernel, initramfs and the
    root's modules must be of one release.
    """
    adopt(store, image, kernel, as_json=as_json, progress=progress)


def adopt(store: Path, image: str, kernel: str | None, *, as_json: bool, progress: Progress) -> None:
    """The command's work, for `diskless refresh IMAGE` of 0.1 as well."""
    done = run_adopt_kernel(store, image, kernel, progress)
    generation = done[0] if done else None
    what, unchanged = f"{image} {done[1] if done else ''}", f"{image}: clients boot that kernel already"
    print_generation(generation, what, unchanged, as_json=as_json, progress=progress)
