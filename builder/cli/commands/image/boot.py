"""`diskless boot [VERSION | IMAGE | RECIPE]`"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shlex
import sys
import termios
import tty
from collections.abc import Iterator
from pathlib import Path

import click

from builder.boot import BootOptions, BootResult, Seat, attend, preflight
from builder.boot import boot as run_boot
from builder.bootlab.machine.firmware import Firmware
from builder.bootlab.machine.guest import Machine
from builder.bootlab.settings import Patience
from builder.build import build
from builder.cli.options import cache_option, json_option, output_option
from builder.cli.reporting import reports_progress
from builder.cli.typed import as_typed
from builder.errors import InputError
from builder.model.recipe import LoaderName
from builder.output.versions import find_version
from builder.progress.progress import Progress
from builder.reading import load_recipe

_LEAVE = b"\x1d"  # Ctrl-]


@click.command()
@click.argument("target", metavar="[VERSION | IMAGE | RECIPE]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--check", "checks", multiple=True, metavar="COMMAND", help="Run COMMAND inside as root; can be repeated."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="How long the login prompt may take.",
)
@click.option(
    "--memory",
    type=click.IntRange(min=128),
    default=1024,
    show_default=True,
    metavar="MIB",
    help="The guest's memory, in MiB.",
)
@click.option("--strict", is_flag=True, help="A unit that failed is an error: exit status 6.")
@click.option(
    "--firmware",
    type=click.Choice([one.value for one in Firmware]),
    default=Firmware.BIOS.value,
    show_default=True,
    help="What the guest starts with; uefi-secure checks signatures, uefi-http fetches the loader over HTTP.",
)
@click.option(
    "--loader",
    type=click.Choice([one.value for one in LoaderName]),
    help="The boot loader it gets; left out: the first of the image's that the firmware can start.",
)
@click.option(
    "--nic",
    "nics",
    multiple=True,
    help="The guest's network card, a device of QEMU; left out: one that the firmware boots from. Repeated: more.",
)
@click.option(
    "--console-log",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the console is written to; left out: beside the version, as VERSION.console.log.",
)
@click.option(
    "--screenshot",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a picture of the guest's screen, PNG: at the login prompt, or where it failed.",
)
@click.option("--console", is_flag=True, help="Sit at the guest's console; Ctrl-] leaves it and switches it off.")
@output_option
@cache_option
@json_option
@reports_progress
def boot(
    target: Path | None,
    checks: tuple[str, ...],
    timeout: float,
    memory: int,
    strict: bool,
    firmware: str,
    loader: str | None,
    nics: tuple[str, ...],
    console_log: Path | None,
    screenshot: Path | None,
    console: bool,
    output: Path,
    cache: Path,
    as_json: bool,
    progress: Progress,
) -> None:
    """Boot an image in a virtual machine without a disk.

    From DHCP to the login prompt, and off again.

    VERSION is a directory such as output/IMAGE/latest, IMAGE the name of one below OUTPUT; a RECIPE is built first;
    without any it is the newest version of the only image there. Needs root and QEMU; touches no network of this host.
    """
    options = BootOptions(
        checks=checks,
        strict=strict,
        machine=Machine(memory=memory, nic=nics[0] if nics else None, more_nics=nics[1:], firmware=Firmware(firmware)),
        loader=LoaderName(loader) if loader else None,
        patience=Patience(login=timeout),
        console_log=console_log,
        screenshot=screenshot,
        work=cache / "boot",
    )
    version = _version(target, output, cache, options, progress)
    result = _attend(version, options, progress) if console else run_boot(version, options, progress)
    click.echo(json.dumps(describe_json(result), indent=1) if as_json else describe_text(result))
    if result.error is not None:
        raise result.error
    if result.units is not None and result.units.fault is not None:
        progress.warn(f"{result.units.fault}; --strict makes this an error")
    progress.result(describe_json(result))
    if not as_json and not console:
        command = as_typed(f"diskless deploy {shlex.quote(str(version))} --to /disklessroot")
        progress.note(f"{result.version} boots; next: {command}")


def _attend(version: Path, options: BootOptions, progress: Progress) -> BootResult:
    """With this terminal as the guest's console: keys go there as they are, Ctrl-C too."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InputError("--console needs a terminal", "leave it out: the console is in the file of --console-log")
    keyboard = sys.stdin.fileno()

    def show(said: bytes) -> None:
        os.write(sys.stdout.fileno(), said)

    @contextlib.contextmanager
    def hold() -> Iterator[None]:
        before = termios.tcgetattr(keyboard)
        try:
            tty.setraw(keyboard)
            yield
        finally:
            termios.tcsetattr(keyboard, termios.TCSADRAIN, before)

    return attend(version, options, progress, Seat(keyboard, show, _LEAVE, hold))


def _version(target: Path | None, output: Path, cache: Path, options: BootOptions, progress: Progress) -> Path:
    if target is None or target.is_dir() or (target.suffix not in (".yml", ".yaml") and not target.is_file()):
        return find_version(None if target is None else str(target), output)
    preflight(options)  # before minutes of building
    return build(load_recipe(target), output, cache, progress).directory


def describe_json(result: BootResult) -> dict[str, object]:
    """The result as --json prints it."""
    return {
        "version": result.version,
        "ok": result.error is None,
        "address": result.address,
        "timeline": result.timeline,
        "checks": [vars(check) for check in result.checks],
        "state": result.units and result.units.state,
        "failed_units": result.units and [dataclasses.asdict(unit) for unit in result.units.failed],
        "unfinished_units": result.units and result.units.unfinished,
        "fault": result.diagnosis and str(result.diagnosis.fault),
        "evidence": result.diagnosis and result.diagnosis.evidence,
        "advice": result.diagnosis and result.diagnosis.advice,
        "console_log": str(result.console_log),
    }


def describe_text(result: BootResult) -> str:
    """The result as people read it: the outputs of the checks, the timeline, then each failed unit with its log."""
    lines = [line for check in result.checks for line in (f"# {check.command}", *check.output.splitlines())]
    lines += [f"{seconds:7.1f} s  {milestone}" for milestone, seconds in result.timeline.items()]
    lines.append(f"address {result.address or 'none'}, console log {result.console_log}")
    for unit in result.units.failed if result.units else ():
        lines += [f"{unit.state}: {unit.unit}, {unit.description}", *(f"    {line}" for line in unit.log)]
    return "\n".join(lines)
