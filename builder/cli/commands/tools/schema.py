"""`diskless schema [recipe | site]`"""

from __future__ import annotations

import click

from builder.render.documents.schema import KINDS, json_schema


@click.command()
@click.argument("kind", metavar="[recipe | site]", required=False, default="recipe", type=click.Choice(list(KINDS)))
def schema(kind: str) -> None:
    """Print the JSON Schema of recipes or of site.yml.

    Editors with a YAML language server complete and check a file whose first line is
    `# yaml-language-server: $schema=PATH`.
    """
    click.echo(json_schema(kind), nl=False)
