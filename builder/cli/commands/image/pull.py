"""`diskless pull REFERENCE`"""

from __future__ import annotations

import json
from pathlib import Path

import click

from builder.cli.options import json_option, output_option
from builder.cli.reporting import reports_progress, show
from builder.cli.transfer import (
    describe_signer,
    downgrade_option,
    image_option,
    revoked_option,
    transfer_options,
    trust_option,
)
from builder.errors import InputError
from builder.output.trust import SignerTrust
from builder.progress.progress import Progress
from builder.pull import Pulled, PullOptions
from builder.pull import pull as run_pull
from builder.transports.base import Options
from builder.transports.table import find_offer


@click.command()
@click.argument("reference")
@output_option
@trust_option
@revoked_option
@click.option("--require-statement", is_flag=True, help="Refuse a channel that nobody signed, also the first time.")
@image_option
@downgrade_option
@reports_progress
@transfer_options
@json_option
def pull(
    reference: str,
    output: Path,
    trust: Path | None,
    revoked: Path | None,
    require_statement: bool,
    image: str | None,
    allow_downgrade: bool,
    options: Options,
    as_json: bool,
    progress: Progress,
) -> None:
    """Fetch the artifacts of a version.

    They come into OUTPUT/IMAGE/VERSION, whole or not at all.

    REFERENCE is oci://HOST/REPOSITORY[:TAG | @DIGEST], oci-layout:DIR[:TAG | @DIGEST], the https:// address of a
    manifest.json or of a channel, or a version's directory. Prints the directory.
    """
    if trust is None and (revoked or require_statement):
        raise InputError("nothing says whose keys are trusted", "--trust FILE, an allowed_signers file")
    believed = None if trust is None else SignerTrust(trust, revoked=revoked, require_statement=require_statement)
    offer = find_offer(reference, options)
    done = run_pull(offer, output, progress, PullOptions(believed, image, allow_downgrade))
    result = _result(done)
    show(json.dumps(result, indent=1) if as_json else str(done.directory))
    progress.result(result)
    progress.note(
        "nothing changed: this version was there already"
        if done.unchanged
        else f"received {done.received / 1e6:.1f} MB"
    )


def _result(done: Pulled) -> dict[str, object]:
    return {
        "directory": str(done.directory),
        "image": done.manifest.image,
        "version": done.manifest.version,
        "root_digest": done.manifest.root_digest,
        "unchanged": done.unchanged,
        **describe_signer(done.approval),
        "received_bytes": done.received,
    }
