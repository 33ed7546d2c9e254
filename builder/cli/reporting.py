"""How a command tells what it does: the options -q, -v and --events, and the Progress that follows from them."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import click

from builder.cli.failures import explain_failure
from builder.errors import InputError
from builder.model.text.escapes import escaped
from builder.progress.progress import Progress

_OPTIONS = (
    click.option("-q", "--quiet", is_flag=True, help="Report errors and warnings only."),
    click.option("-v", "--verbose", is_flag=True, help="Also show every command that runs and what it prints."),
    click.option(
        "--events",
        metavar="FILE",
        help="Write what happens to FILE as lines of JSON; `-` is standard error, and nothing else goes there then.",
    ),
)


def show(text: str, *, newline: bool = True) -> None:
    """Prints a result; what a terminal would obey in names that others chose is escaped."""
    click.echo(escaped(text, keep="\n\t"), nl=newline)


def reports_progress(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command those options, and instead of them a `progress`."""

    @functools.wraps(command)
    def wrapped(*args: Any, quiet: bool, verbose: bool, events: str | None, **kwargs: Any) -> None:  # noqa: ANN401
        with _open_events(events) as stream:
            progress = Progress(quiet=quiet, verbose=verbose, events=stream)
            try:
                command(*args, progress=progress, **kwargs)
            except (Exception, KeyboardInterrupt) as error:
                failure = explain_failure(error)
                progress.fail(failure)
                if stream is sys.stderr:
                    sys.exit(failure.exit_code)  # the event has said it all
                raise

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


@contextlib.contextmanager
def _open_events(name: str | None) -> Iterator[TextIO | None]:
    if name is None or name == "-":
        yield sys.stderr if name else None
        return
    try:
        stream = open(name, "w", encoding="utf-8")  # noqa: SIM115 - closed below
    except OSError as error:
        raise InputError(f"--events: {name}: {error.strerror}", "give a file that can be written") from error
    with stream:
        yield stream
