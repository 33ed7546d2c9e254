"""The command `diskless`: prints errors with their hints, and nothing else than errors as errors."""

from __future__ import annotations

import os
import sys

import click

from builder.cli.build import build
from builder.cli.check import check
from builder.errors import DisklessError

_INTERNAL_ERROR = 70  # EX_SOFTWARE, sysexits.h


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="diskless", prog_name="diskless")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def cli(debug: bool) -> None:
    """Builds, boots and deploys images for machines without disks."""


for command in (build, check):
    cli.add_command(command)


def main() -> None:
    """Entry point of the console script; every failure ends with a message and an exit status of its kind."""
    os.umask(0o022)
    debug = "--debug" in sys.argv[1:]
    try:
        cli.main(prog_name="diskless", standalone_mode=False)
    except click.exceptions.Abort:
        _fail("interrupted", None, 130)
    except KeyboardInterrupt:
        _fail("interrupted", "nothing was changed but the package cache", 130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except DisklessError as error:
        if debug:
            raise
        _report(error)
    except BrokenPipeError:
        # the reader of our output is gone: no one to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        if debug:
            raise
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}", "free space or mend permissions there; --debug shows where it came from", 3)
    except Exception as error:
        if debug:
            raise
        _fail(f"internal error: {type(error).__name__}: {error}", "please report it with the output of --debug", _INTERNAL_ERROR)


def _report(error: DisklessError) -> None:
    for line in error.details:
        click.echo(f"  {line}", err=True)
    _fail(f"{error.phase}: {error.message}" if error.phase else error.message, error.hint, error.exit_code)


def _fail(message: str, hint: str | None, status: int) -> None:
    click.echo(f"error: {message}", err=True)
    if hint:
        click.echo(f"hint: {hint}", err=True)
    sys.exit(status)

