"""`diskless doctor [--to DIR]`"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path

import click

from builder.cli.options import cache_option, json_option, output_option
from builder.cli.typed import as_typed
from builder.doctor import examine_host, examine_server
from builder.errors import HostError
from builder.model.diagnostic import Diagnostic, Level, worst
from builder.model.text.escapes import escaped

_KEPT = "\n\t"
_COLOURS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}


@click.command()
@click.option(
    "--to",
    "store",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Ask the servers of this store: DHCP, TFTP, HTTP, NFS.",
)
@click.option(
    "--wait",
    type=click.FloatRange(min=1),
    default=6,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for DHCP servers.",
)
@output_option
@cache_option
@json_option
def doctor(store: Path | None, wait: float, output: Path, cache: Path, as_json: bool) -> None:
    """Find what is wrong with this host or a store's servers.

    Looks at this host, or with --to at the servers of a store, and says what to do.

    The exit status is 0 where nothing fails, and 3 otherwise; warnings do not change it. Some of it needs root.
    """
    found = examine_host(output, cache) if store is None else examine_server(store, wait)
    findings = [dataclasses.replace(item, remedy=item.remedy and as_typed(item.remedy)) for item in found]
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=1))
    else:
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        click.echo("\n".join(describe_text(findings, colour=colour)))
    if worst(findings) is Level.FAIL:
        sys.exit(HostError.exit_code)


def describe_text(findings: list[Diagnostic], *, colour: bool) -> list[str]:
    """One line a finding, grouped by what it belongs to, with the remedy below it; counts at the end."""
    width = min(24, max(len(finding.name) for finding in findings))
    lines: list[str] = []
    for area in dict.fromkeys(finding.area for finding in findings):
        lines.append(area)
        for finding in (finding for finding in findings if finding.area == area):
            level = f"{finding.level.value:<4}"
            shown = click.style(level, fg=_COLOURS[finding.level]) if colour else level
            # servers say some of it
            lines.append(f"  {shown}  {finding.name:<{width}}  {escaped(finding.text, keep=_KEPT)}")
            if finding.remedy:
                lines.append(f"  {'':4}  {'':{width}}  -> {escaped(finding.remedy, keep=_KEPT)}")
    counts = {level: sum(finding.level is level for finding in findings) for level in Level}
    return [*lines, ", ".join(f"{count} {level.value}" for level, count in counts.items())]
