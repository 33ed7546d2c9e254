"""Options of the commands that reach other machines, put together as the transports want them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import click

from builder.cli.options import Duration, transfer_cache_option
from builder.output.approval import Approval
from builder.progress.progress import Progress
from builder.transports.base import Limits, Options
from builder.transports.http.credentials import HEADERS, environment_headers, parse_header
from builder.transports.retries import Retries

trust_option = click.option(
    "--trust",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="DISKLESS_TRUST",
    metavar="ALLOWED_SIGNERS",
    help="Refuse what none of these signed: a file as ssh-keygen(1) has it. [env: DISKLESS_TRUST]",
)
revoked_option = click.option(
    "--revoked",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="DISKLESS_REVOKED",
    metavar="KEYS",
    help="Keys that nobody is believed by any more: public keys, or a list of ssh-keygen(1). [env: DISKLESS_REVOKED]",
)
image_option = click.option(
    "--image",
    envvar="DISKLESS_IMAGE",
    metavar="NAME",
    help="Refuse what is of another image. [env: DISKLESS_IMAGE]",
)
downgrade_option = click.option(
    "--allow-downgrade",
    is_flag=True,
    help="Believe a channel that means something older than what was seen, and remember that instead.",
)
state_option = click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="DISKLESS_STATE",
    default="/var/lib/diskless",
    show_default=True,
    help="Where this machine remembers what channels meant, beside the store. [env: DISKLESS_STATE]",
)
_header_option = click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="'NAME: VALUE'",
    help=f"A header for every request; env:VARIABLE for a value that others must not see. [env: {HEADERS}]",
)
_ca_option = click.option(
    "--ca",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="DISKLESS_CA",
    metavar="FILE",
    help="Trust the certificates in FILE (PEM) and no others. [env: DISKLESS_CA]",
)
_token_option = click.option(
    "--token-server",
    "token_servers",
    multiple=True,
    metavar="HOST",
    help="A host of another domain than the registry's, which gives its tokens and gets the login for that.",
)
_longest_option = click.option(
    "--longest",
    type=Duration(),
    default=f"{Limits().longest / 3600:.0f}h",
    show_default=True,
    metavar="TIME",
    help="Give up after so long.",
)
_plain_option = click.option("--plain-http", is_flag=True, help="Speak HTTP without TLS, also with other hosts.")


def describe_signer(approval: Approval | None) -> dict[str, object]:
    """Who signed what came in, and what its channel says, as --json prints it."""
    statement = None if approval is None else approval.statement
    return {
        "signer": approval and approval.signer,
        "channel": statement
        and {
            "tag": statement.tag,
            "serial": statement.serial,
            "expires": statement.expires,
            "issued": statement.issued,
        },
    }


def transfer_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds --header, --ca, --plain-http and --cache, `options` for the command; goes below reports_progress."""

    @functools.wraps(command)
    def with_options(
        headers: tuple[str, ...],
        ca: Path | None,
        plain_http: bool,
        token_servers: tuple[str, ...],
        longest: int,
        cache: Path,
        progress: Progress,
        **others: object,
    ) -> None:
        options = Options(
            headers=(*environment_headers(), *map(parse_header, headers)),
            ca=ca,
            plain_http=plain_http,
            token_servers=token_servers,
            limits=Limits(longest=longest),
            cache=cache,
            retries=Retries(tell=progress.note),
            progress=progress,
        )
        command(options=options, progress=progress, **others)

    for option in (_header_option, _ca_option, _plain_option, _token_option, _longest_option, transfer_cache_option):
        with_options = option(with_options)
    return with_options
