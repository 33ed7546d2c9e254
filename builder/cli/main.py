"""The command `diskless`: prints errors with their hints, and nothing else than errors as errors."""

from __future__ import annotations

import os
import signal
import sys

import click

from builder.cli.boot import boot
from builder.cli.build import build
from builder.cli.check import check
from builder.cli.deploy import deploy
from builder.cli.prune import prune
from builder.cli.pull import pull
from builder.cli.refresh import refresh
from builder.cli.rollback import rollback
from builder.cli.server_config import server_config
from builder.cli.status import status
from builder.cli.upload import upload
from builder.cli.verify import verify
from builder.errors import DisklessError, HostError

_INTERNAL = 70  # EX_SOFTWARE, sysexits.h
_INTERRUPTED = 130  # as shells report SIGINT


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="diskless", prog_name="diskless")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def cli(debug: bool) -> None:
    """Builds images for machines without disks, boots them, and moves them to where they are served."""


for command in (check, build, boot, upload, pull, deploy, rollback, status, prune, verify, refresh, server_config):
    cli.add_command(command)


def main() -> None:
    """Entry point of the console script; every failure ends with a message and an exit status of its kind."""
    os.umask(0o022)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # an orderly end, like Ctrl-C
    try:
        cli.main(prog_name="diskless", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        _fail("interrupted", "nothing was changed but the package cache", _INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Exception as error:
        if "--debug" in sys.argv[1:]:
            raise
        _report(error)


def _report(error: Exception) -> None:
    if isinstance(error, DisklessError):
        for line in error.details:
            click.echo(f"  {line}", err=True)
        _fail(f"{error.phase}: {error.message}" if error.phase else error.message, error.hint, error.exit_code)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        hint = "free space or mend permissions there; --debug shows where it came from"
        _fail(f"{where}{error.strerror or error}", hint, HostError.exit_code)
    _fail(f"internal error: {type(error).__name__}: {error}", "please report it with the output of --debug", _INTERNAL)


def _fail(message: str, hint: str | None, status: int) -> None:
    click.echo(f"error: {message}", err=True)
    if hint:
        click.echo(f"hint: {hint}", err=True)
    sys.exit(status)
