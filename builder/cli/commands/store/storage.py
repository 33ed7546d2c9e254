"""`diskless storage --to DIR`"""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from pathlib import Path

import click

from builder.cli.options import json_option, store_option
from builder.cli.reporting import reports_progress
from builder.model.share import RO, RW
from builder.model.text.quantity import format_bytes
from builder.progress.progress import Progress
from builder.shares.state import ShareState, StorageState
from builder.storage import StorageOptions, set_up_storage


class Size(click.ParamType[int]):
    """Bytes: 500M, 20G, 1T, powers of 1024 as for truncate(1)."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Bytes."""
        found = re.fullmatch(r"([0-9]{1,6})([MGT])", str(value))
        if found is None:
            self.fail(f"{value!r} is not a size; write 500M, 20G or 1T", param, ctx)
        return int(found[1]) << {"M": 20, "G": 30, "T": 40}[found[2]]


class ImageSize(click.ParamType[tuple[str, int]]):
    """IMAGE=SIZE."""

    name = "image size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """The image and bytes."""
        image, sign, size = str(value).partition("=")
        if not image or not sign:
            self.fail(f"{value!r} is not IMAGE=SIZE, such as lab=10G", param, ctx)
        return image, Size().convert(size, param, ctx)


@click.command()
@store_option
@click.option("--ro", metavar="SIZE", type=Size(), help="Of the file system for read-only roots, such as 20G.")
@click.option("--rw", metavar="SIZE", type=Size(), help="Of the file system for read-write roots.")
@click.option(
    "--rw-image",
    "images",
    metavar="IMAGE=SIZE",
    type=ImageSize(),
    multiple=True,
    help="One for the read-write roots of this image alone, that only its clients may mount; can be repeated.",
)
@click.option("--end-old-exports", "end_old", is_flag=True, help="No client runs from the exports of 0.1 any more.")
@click.option("--force", is_flag=True, help="With --end-old-exports: although clients seem to use them.")
@reports_progress
@json_option
def storage(
    store: Path,
    ro: int | None,
    rw: int | None,
    images: tuple[tuple[str, int], ...],
    end_old: bool,
    force: bool,
    as_json: bool,
    progress: Progress,
) -> None:
    """Give roots file systems of their own.

    An NFS client can reach every file of the file system that an export lies on, so nothing else is to be there. This
    makes a file system in a file below DIR for each kind of root, all of it allocated at once, and mounts it now and
    at every start; a larger SIZE later makes it grow. A file system that you mount at DIR/ro or DIR/rw yourself is
    taken instead.

    Roots of a store of 0.1 are brought over. Clients that run keep what they booted until --end-old-exports.
    """
    sizes = {name: size for name, size in ((RO, ro), (RW, rw)) if size is not None}
    sizes.update((f"{RW}/{image}", size) for image, size in images)
    state = set_up_storage(store, StorageOptions(sizes, end_old, force), progress)
    click.echo(json.dumps(describe_json(state), indent=1) if as_json else describe_text(state))


def describe_json(state: StorageState) -> dict[str, object]:
    """The state as --json prints it."""
    described = dataclasses.asdict(state)
    described["root"] = str(state.root)
    described["shares"] = [
        {**dataclasses.asdict(share), "image": share.image and str(share.image)} for share in state.shares
    ]
    return described


def describe_text(state: StorageState) -> str:
    """The state as people read it, and what is next."""
    command = f"diskless storage --to {shlex.quote(str(state.root))}"
    lines = [_describe(state, share) for share in state.shares]
    if not state.shares:
        lines.append(f"no root has a file system of its own, so nothing is exported: {command} --ro 20G, for example")
    lines += [f"{image} {version}: its root stays where it is until no client runs" for image, version in state.waiting]
    lines += state.by_hand
    if state.old_exports:
        lines.append(
            "the exports of 0.1 are still served, and UNSAFE: clients reach the whole file system through them."
        )
        lines.append(f"When every client was restarted, or is off: {command} --end-old-exports")
    if state.shares:
        lines.append(f"next: diskless server-config --to {shlex.quote(str(state.root))} --install")
    return "\n".join(lines)


def _describe(state: StorageState, share: ShareState) -> str:
    name = f"{state.root / share.path}"
    if share.size is None or share.free is None:
        return f"{name}: {share.fault}"
    source = f"in {share.image}" if share.image else "your own file system"
    room = f"{format_bytes(share.free)} of {format_bytes(share.size)} free"
    return f"{name}: {room}, {source}" + (f"; {share.fault}" if share.fault else "")
