"""`diskless status --to DIR`"""

from __future__ import annotations

import dataclasses
import datetime
import json
from pathlib import Path

import click

from builder.cli.options import json_option, store_option
from builder.cli.reporting import show
from builder.cli.typed import as_typed
from builder.reading import load_site
from builder.store.inspection.clients import describe_clients
from builder.store.inspection.status import StoreStatus, VersionStatus, read_status
from builder.store.layout import find_store


@click.command()
@store_option
@json_option
def status(store: Path, as_json: bool) -> None:
    """Show the versions on this server, and which are in use.

    That is which one clients boot next, and which they are known to use.
    """
    found = find_store(store)
    read = read_status(found, load_site(found.site_file) if found.site_file.exists() else None)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(read), indent=1, default=str))
    else:
        show("\n".join(_lines(read)))


def _lines(read: StoreStatus) -> list[str]:
    if read.active is None:
        return [f"{read.root}: nothing is deployed yet"]
    lines = [f"{read.root}: generation {read.active.number} of {_time(read.active.made)}, server {read.active.server}"]
    if not read.menus_current:
        command = as_typed(f"diskless refresh --to {read.root}")
        lines.append(f"the menus are not what site.yml and the versions say now: {command}")
    if read.exports_fault is not None:
        used = f"used by {', '.join(read.old_clients)}" if read.old_clients else "no client is known to use them"
        lines += [f"fault: {read.exports_fault}", f"the exports of 0.1: {used}"]
    if read.lacks_room:
        command = as_typed(f"diskless prune --to {read.root}")
        lines.append(f"the disk of {read.root}/boot is nearly full: {command}")
    for image, versions in read.images.items():
        lines += ["", f"{image}{' (for unknown clients)' if image == read.active.default else ''}"]
        lines += [_version(version) for version in versions]
        for hold in read.holds.get(image, ()):
            command = as_typed(f"diskless rollback --to {read.root} {image} {hold.version}")
            lines.append(
                f"    hold: no channel brings {hold.version} back ({hold.reason}), until it means another: {command}"
            )
    lines += ["", "history"]
    lines += [
        f"  {generation.number:>4}  {_time(generation.made)}  {generation.reason}" for generation in read.history[:10]
    ]
    return lines


def _version(version: VersionStatus) -> str:
    notes = [f"Linux {version.kernel}", f"{version.size / 1e6:.0f} MB", version.mode]
    notes += [f"kernels {', '.join(version.boot_names)}"] if len(version.boot_names) > 1 else []
    notes += [f"signed by {version.signer}"] if version.signer else []
    notes += [f"pinned by {', '.join(version.pinned_by)}"] if version.pinned_by else []
    notes += [f"in use by {describe_clients(set(version.clients))}"] if version.clients else []
    notes += [f"mounted once by {describe_clients(set(version.hinted))}"] if version.hinted else []
    return f"  {'*' if version.active else ' '} {version.version}  {', '.join(notes)}"


def _time(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")
