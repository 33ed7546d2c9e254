"""`diskless sbom VERSION`"""

from __future__ import annotations

from pathlib import Path

import click

from builder.cli.options import complete_version, output_option
from builder.output.given import hold_version
from builder.output.places import write_output
from builder.output.versions import find_version, manifest_in
from builder.render.sbom.documents import SBOM_NAMES, SbomFormat
from builder.render.sbom.documents import sbom as make_sbom


@click.command()
@click.argument("version", required=False, shell_complete=complete_version)
@click.option(
    "--format",
    "form",
    type=click.Choice([str(form) for form in SbomFormat]),
    default=str(SbomFormat.SPDX),
    show_default=True,
    help="SPDX 2.3 or CycloneDX 1.6, in JSON.",
)
@click.option("--write", is_flag=True, help="Write both beside the manifest instead, as a build does.")
@output_option
def sbom(version: str | None, form: str, write: bool, output: Path) -> None:
    """Print the bill of materials of VERSION.

    It is made from the manifest alone, so it is the same document whoever makes it. VERSION is a directory such as
    output/IMAGE/VERSION, or the name of an image below OUTPUT; left out: the newest version of the only image there.
    """
    with hold_version(find_version(version, output)) as held:
        manifest = manifest_in(held)
        if write:
            for kind, name in SBOM_NAMES.items():
                write_output(held, name, make_sbom(manifest, kind).encode())
                click.echo(held.path / name)
            return
    click.echo(make_sbom(manifest, SbomFormat(form)), nl=False)
