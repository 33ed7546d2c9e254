"""`diskless diff OLD NEW`"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from builder.archive.unpack import index_in
from builder.cli.options import complete_version, json_option, output_option
from builder.cli.reporting import show
from builder.model.artifacts.difference import Difference, FileDifference, compare_files, compare_manifests
from builder.model.text.quantity import format_change
from builder.output.given import hold_version
from builder.output.versions import find_version, manifest_in
from builder.render.report.summary import count_line, file_lines, package_lines


@click.command()
@click.argument("old", shell_complete=complete_version)
@click.argument("new", shell_complete=complete_version)
@click.option("--files", is_flag=True, help="Also list every file that differs.")
@output_option
@json_option
def diff(old: str, new: str, files: bool, output: Path, as_json: bool) -> None:
    """Show what differs between two versions.

    That is packages, kernel, sizes and files.

    OLD and NEW are directories such as output/IMAGE/VERSION, or names of images below OUTPUT.
    """
    before, after = (hold_version(find_version(name, output)) for name in (old, new))
    difference = compare_manifests(manifest_in(before), manifest_in(after))
    changes = compare_files(index_in(before), index_in(after))
    if as_json:
        show(json.dumps(describe_json(difference, changes), indent=1))
        return
    lines = [*package_lines(difference), f"to transfer: {format_change(difference.transfer)}", count_line(changes)]
    show("\n".join([*lines, *(file_lines(changes) if files else ())]))


def describe_json(difference: Difference, changes: FileDifference) -> dict[str, Any]:
    """The differences as --json prints them."""
    return {
        **dataclasses.asdict(difference),
        "files": {
            "added": [file.path for file in changes.added],
            "removed": [file.path for file in changes.removed],
            "changed": {change.path: change.what for change in changes.changed},
        },
    }
