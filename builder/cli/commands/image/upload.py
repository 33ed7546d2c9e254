"""`diskless upload [VERSION_DIR | IMAGE] --to TARGET`"""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path

import click

from builder.cli.options import Duration, complete_version, json_option, output_option
from builder.cli.reporting import reports_progress, show
from builder.cli.transfer import transfer_options
from builder.cli.typed import as_typed
from builder.errors import InputError
from builder.model.artifacts.channel import LARGEST_SERIAL
from builder.model.artifacts.difference import compare_manifests
from builder.output.versions import find_version
from builder.progress.progress import Progress
from builder.render.report.summary import summary
from builder.transports.base import Options
from builder.transports.oci.layout import LAYOUT
from builder.transports.pieces import LEAST_LAYERS
from builder.transports.retention import Retention
from builder.transports.table import is_remote
from builder.upload import DEFAULT_LIFE, Signing, Uploaded
from builder.upload import upload as run_upload

_MODES = ("0600", "0640", "0644")


@click.command()
@click.argument("version", metavar="[VERSION_DIR | IMAGE]", required=False, shell_complete=complete_version)
@click.option(
    "--to",
    "target",
    required=True,
    metavar="TARGET",
    help="Where to: oci://HOST/REPOSITORY, https://HOST/PATH, a directory, oci-layout:DIR.",
)
@click.option(
    "--tag",
    "tags",
    multiple=True,
    help="A name that means this version from now on; can be repeated.  [default: latest]",
)
@click.option(
    "--sign",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="KEY",
    help="Sign the manifest, and what the tags mean, with an ssh key.",
)
@click.option(
    "--expires",
    type=Duration(),
    default=f"{DEFAULT_LIFE // 86400}d",
    show_default=True,
    metavar="TIME",
    help="How long what is signed about the tags holds: 12h, 7d.",
)
@click.option("--renew", is_flag=True, help="Sign only what the tags mean already, so that it does not expire.")
@click.option(
    "--serial",
    type=click.IntRange(min=1, max=LARGEST_SERIAL),
    metavar="N",
    help="Of what is signed about the tags, where a registry lost it.  [default: one more than there]",
)
@click.option(
    "--trust",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="ALLOWED_SIGNERS",
    help="Who may have signed what the tags mean now: else somebody there could choose its serial.",
)
@click.option(
    "--mode",
    type=click.Choice(_MODES),
    help="Of files in a directory as TARGET; directories can be entered by who can read.  [default: 0640]",
)
@click.option(
    "--layers",
    type=click.IntRange(min=LEAST_LAYERS),
    metavar="N",
    help="Cut the version into N layers at most, for a registry with a limit.  [default: where it refuses more]",
)
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    metavar="N",
    help="Then remove all but the newest N versions of the image there; what a tag means stays.",
)
@click.option(
    "--keep-days",
    type=click.IntRange(min=0),
    metavar="DAYS",
    help="The same by age: what is at most so much older than the newest stays. With --keep, what either keeps.",
)
@output_option
@reports_progress
@transfer_options
@json_option
def upload(
    version: str | None,
    target: str,
    tags: tuple[str, ...],
    sign: Path | None,
    expires: int,
    renew: bool,
    serial: int | None,
    trust: Path | None,
    mode: str | None,
    layers: int | None,
    keep: int | None,
    keep_days: int | None,
    output: Path,
    options: Options,
    as_json: bool,
    progress: Progress,
) -> None:
    """Send a version to a registry, web server or directory.

    Other machines deploy it from there.

    VERSION_DIR is a directory such as output/IMAGE/latest, IMAGE the name of one below OUTPUT; without either it is
    the newest version of the only image there. Only what is not there yet is sent; prints the version's reference.
    """
    if mode is not None:
        if is_remote(target) and not target.startswith(("file://", *LAYOUT.prefixes)):
            raise InputError(f"--mode {mode}: {target} is no directory, and has its own rules", "leave it out")
        options = dataclasses.replace(options, mode=int(mode, 8))
    options = dataclasses.replace(options, layers=layers)
    if sign is None and (renew or serial):
        raise InputError("only what is signed has a serial and expires", "--sign KEY")
    signing = Signing(sign, expires, serial, renew, trust)
    done = run_upload(find_version(version, output), target, tags, options, signing, Retention(keep, keep_days))
    result = _result(done)
    show(json.dumps(result, indent=1) if as_json else done.pushed.reference)
    _tell(progress, done)
    command = as_typed(f"diskless deploy {shlex.quote(done.pushed.reference)} --to DIR")
    before = done.before
    difference = None if before is None or before == done.manifest else compare_manifests(before, done.manifest)
    for line in summary(done.manifest, difference, progress.seconds, command):
        progress.note(line)
    progress.result(result)


def _result(done: Uploaded) -> dict[str, object]:
    return {
        "reference": done.pushed.reference,
        "image": done.manifest.image,
        "version": done.manifest.version,
        "root_digest": done.manifest.root_digest,
        "tags": list(done.tags),
        "serials": done.serials,
        "sent_bytes": done.pushed.sent,
        "size": done.pushed.size,
        "sent": done.pushed.files,
        "there": done.pushed.there,
        "removed": list(done.removed),
    }


def _tell(progress: Progress, done: Uploaded) -> None:
    pushed = done.pushed
    progress.note(
        f"sent {pushed.sent / 1e6:.1f} of {pushed.size / 1e6:.1f} MB: {pushed.files} files or layers, "
        f"{pushed.there} were there already"
    )
