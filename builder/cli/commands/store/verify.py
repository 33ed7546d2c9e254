"""`diskless verify --to DIR`"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from builder.cli.options import json_option, store_option
from builder.cli.reporting import reports_progress, show
from builder.errors import AuditError
from builder.progress.progress import Progress
from builder.reading import load_site
from builder.store.arrival.channels import trust_of
from builder.store.inspection.verification import EXPORTS, FILE_SYSTEMS, Severity
from builder.store.inspection.verification import verify as run_verify
from builder.store.layout import find_store


@click.command()
@store_option
@click.option("--deep", is_flag=True, help="Read every file of every version and compare its digest.")
@reports_progress
@json_option
def verify(store: Path, deep: bool, as_json: bool, progress: Progress) -> None:
    """Compare everything in the store with what was deployed.

    What clients changed in read-write roots is listed, and is not a fault.
    """
    with progress.step("verify"):
        found = find_store(store)
        site = load_site(found.site_file) if found.site_file.exists() else None
        trust = None if site is None else trust_of(site)
        findings = run_verify(found, deep=deep, trust=trust, on_version=progress.note)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=1))
    else:
        for finding in findings:
            show(f"{finding.kind}: {finding.where}: {finding.message}")
            show("".join(f"    {line}\n" for line in finding.details), newline=False)
    faults = [finding for finding in findings if finding.kind is Severity.FAULT]
    if faults:
        in_versions = any(finding.where not in (EXPORTS, FILE_SYSTEMS) for finding in faults)
        hint = "deploy the versions named again, after pruning them" if in_versions else None
        number = "a fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise AuditError(f"{number} in {store}", hint)
    if not as_json:
        click.echo("no fault found")
