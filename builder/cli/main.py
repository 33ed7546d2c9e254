"""The command `diskless`: prints errors with their hints, and nothing else than errors as errors."""

from __future__ import annotations

import os
import signal
import sys

import click

from builder.cli.boot import boot
from builder.cli.build import build
from builder.cli.check import check
from builder.cli.completion import completion
from builder.cli.deploy import deploy
from builder.cli.diff import diff
from builder.cli.doctor import doctor
from builder.cli.failures import explain_failure
from builder.cli.init import init
from builder.cli.prune import prune
from builder.cli.pull import pull
from builder.cli.refresh import refresh
from builder.cli.rollback import rollback
from builder.cli.schema import schema
from builder.cli.server_config import server_config
from builder.cli.shell import shell
from builder.cli.status import status
from builder.cli.upload import upload
from builder.cli.verify import verify
from builder.errors import DisklessError
from builder.model.escapes import escaped


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="diskless", prog_name="diskless")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def cli(debug: bool) -> None:
    """Builds images for machines without disks, boots them, and moves them to where they are served."""


for group in (
    (init, check, build, boot, shell, diff, upload, pull),
    (deploy, rollback, status, prune, verify, refresh, server_config),
    (doctor, schema, completion),
):
    for command in group:
        cli.add_command(command)


def main() -> None:
    """Entry point of the console script; every failure ends with a message and an exit status of its kind."""
    os.umask(0o022)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # an orderly end, like Ctrl-C
    try:
        cli.main(prog_name="diskless", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, Exception) and "--debug" in sys.argv[1:]:
            raise
        _report(explain_failure(error))


def _report(error: DisklessError) -> None:
    lines = [f"  {line}" for line in error.details]
    lines.append(f"error: {f'{error.phase}: ' if error.phase else ''}{error.message}")
    lines += [f"hint: {error.hint}"] if error.hint else []
    for line in lines:
        click.echo(escaped(line, keep="\n\t"), err=True)
    sys.exit(error.exit_code)
