"""`diskless diff OLD NEW`"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from builder.advisories.tracker import CveDifference, compare_cves, unnamed_sources
from builder.archive.unpack import index_in
from builder.cli.options import complete_version, json_option, output_option
from builder.cli.reporting import show
from builder.errors import InputError
from builder.model.artifacts.difference import Difference, FileDifference, compare_files, compare_manifests
from builder.model.artifacts.manifest import Manifest
from builder.model.recipe import DistributionName
from builder.model.text.quantity import format_change
from builder.output.given import hold_version
from builder.output.versions import find_version, manifest_in
from builder.reading.tracker import read_tracker
from builder.render.report.summary import count_line, file_lines, package_lines


@click.command()
@click.argument("old", shell_complete=complete_version)
@click.argument("new", shell_complete=complete_version)
@click.option(
    "--cves",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also name the CVEs that went and came, by the JSON of Debian's or Arch Linux's security tracker.",
)
@click.option("--files", is_flag=True, help="Also list every file that differs.")
@output_option
@json_option
def diff(old: str, new: str, cves: Path | None, files: bool, output: Path, as_json: bool) -> None:
    """Show what differs between two versions.

    That is packages, kernel, sizes and files.

    OLD and NEW are directories such as output/IMAGE/VERSION, or names of images below OUTPUT.
    """
    before, after = (hold_version(find_version(name, output)) for name in (old, new))
    manifests = manifest_in(before), manifest_in(after)
    difference = compare_manifests(*manifests)
    vulnerabilities = None if cves is None else _compare_cves(*manifests, cves)
    changes = compare_files(index_in(before), index_in(after))
    if as_json:
        described = describe_json(difference, changes)
        if vulnerabilities is not None:
            described["cves"] = dataclasses.asdict(vulnerabilities)
        show(json.dumps(described, indent=1))
        return
    lines = [*package_lines(difference), f"to transfer: {format_change(difference.transfer)}", count_line(changes)]
    lines += [] if vulnerabilities is None else cve_lines(vulnerabilities)
    show("\n".join([*lines, *(file_lines(changes) if files else ())]))


def _compare_cves(old: Manifest, new: Manifest, file: Path) -> CveDifference:
    tracker = read_tracker(file)
    for manifest in (old, new):
        nameless = unnamed_sources(manifest) if manifest.distribution is DistributionName.DEBIAN else 0
        if nameless:
            click.echo(
                f"warning: {manifest.version} was built by a release that did not write down sources: "
                f"{nameless} packages are looked up by their own names, and CVEs of others are missed",
                err=True,
            )
    try:
        return compare_cves(old, new, tracker)
    except ValueError as error:
        raise InputError(f"{file}: {error}", "give the file of the tracker of these versions' distribution") from error


def cve_lines(difference: CveDifference) -> list[str]:
    """The CVEs that went and came, one a line after a line that counts."""
    counted = f"CVEs: {len(difference.gone)} gone, {len(difference.come)} come, {difference.both} in both"
    lines = [f"  - {one.name} {one.package} {one.version}" for one in difference.gone]
    for one in difference.come:
        fixed = f", fixed in {one.fixed}" if one.fixed else ""
        lines.append(f"  + {one.name} {one.package} {one.version}{fixed}")
    return [counted, *lines]


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
