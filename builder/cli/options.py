"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

recipe_argument = click.argument("recipe", type=click.Path(path_type=Path))
output_option = click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default="output",
    show_default=True,
    help="Where versions are kept, as OUTPUT/IMAGE/VERSION.",
)
cache_option = click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="DISKLESS_CACHE",
    default="/var/cache/diskless",
    show_default=True,
    help="Where downloaded packages are kept; builds share it. [env: DISKLESS_CACHE]",
)
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Report errors and warnings only.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
