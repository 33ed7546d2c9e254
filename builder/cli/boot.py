"""`diskless boot VERSION_DIR`"""

from __future__ import annotations

import json
from pathlib import Path

import click

from builder.boot import BootOptions, BootResult
from builder.boot import boot as run_boot
from builder.bootlab.guest import Machine
from builder.bootlab.settings import LabSettings, Patience
from builder.cli.options import cache_option, json_option, quiet_option
from builder.system.progress import Progress


@click.command()
@click.argument("version", type=click.Path(path_type=Path))
@click.option(
    "--check", "checks", multiple=True, metavar="COMMAND", help="Run COMMAND inside as root; can be repeated."
)
@click.option(
    "--timeout", type=click.FloatRange(min=1), default=300, show_default=True, help="Seconds until the login prompt."
)
@click.option(
    "--memory", type=click.IntRange(min=128), default=1024, show_default=True, help="The guest's memory, in MiB."
)
@click.option("--nic", default="e1000", show_default=True, help="The guest's network card, a device of QEMU.")
@click.option(
    "--console-log",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the console is written to; left out: beside the version, as VERSION.console.log.",
)
@cache_option
@quiet_option
@json_option
def boot(
    version: Path,
    checks: tuple[str, ...],
    timeout: float,
    memory: int,
    nic: str,
    console_log: Path | None,
    cache: Path,
    quiet: bool,
    as_json: bool,
) -> None:
    """Boot VERSION in a virtual machine without a disk, from DHCP to the login prompt and off again.

    VERSION is a directory such as output/IMAGE/latest. Needs root and QEMU; touches no network of this host.
    """
    options = BootOptions(
        checks=checks,
        machine=Machine(memory=memory, nic=nic),
        settings=LabSettings(patience=Patience(login=timeout)),
        console_log=console_log,
        work=cache / "boot",
    )
    result = run_boot(version, options, Progress(quiet=quiet))
    click.echo(json.dumps(describe_json(result), indent=1) if as_json else describe_text(result))
    if result.error is not None:
        raise result.error


def describe_json(result: BootResult) -> dict[str, object]:
    """The result as --json prints it."""
    return {
        "version": result.version,
        "ok": result.error is None,
        "address": result.address,
        "timeline": result.timeline,
        "checks": [vars(check) for check in result.checks],
        "fault": result.diagnosis and str(result.diagnosis.fault),
        "evidence": result.diagnosis and result.diagnosis.evidence,
        "advice": result.diagnosis and result.diagnosis.advice,
        "console_log": str(result.console_log),
    }


def describe_text(result: BootResult) -> str:
    """The result as people read it: the outputs of the checks, then the timeline."""
    lines = [line for check in result.checks for line in (f"# {check.command}", *check.output.splitlines())]
    lines += [f"{seconds:7.1f} s  {milestone}" for milestone, seconds in result.timeline.items()]
    return "\n".join([*lines, f"address {result.address or 'none'}, console log {result.console_log}"])
