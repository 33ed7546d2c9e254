"""`diskless check RECIPE`"""

from __future__ import annotations

from pathlib import Path
from typing import assert_never

import click

from builder.cli.options import recipe_argument
from builder.inits.table import init_of
from builder.model.entry import TreeCopy, TreeEntry, TreeFile, TreeLink
from builder.reading import load_recipe, load_site
from builder.render.image.accounts import describe_user
from builder.render.image.entries import image_cmdline, image_entries
from builder.render.image.lease import lease_advice
from builder.store.layout import SITE


@click.command()
@recipe_argument
@click.option("--show", is_flag=True, help="Also print every file that a build would write.")
def check(recipe: Path, show: bool) -> None:
    """Check a recipe or a site.yml, without building.

    RECIPE is a recipe, or a file called site.yml. Needs neither root nor network.
    """
    if recipe.name == SITE:
        load_site(recipe)
        click.echo(f"{recipe}: no fault found")
        return
    recipe_file = load_recipe(recipe)
    advice = lease_advice(recipe_file.recipe)
    if advice is not None:
        click.echo(f"{recipe}: warning: {advice.message}\n  {advice.hint}", err=True)
    if show:
        for entry in image_entries(recipe_file.recipe, recipe_file.sources, recipe_file.large):
            click.echo(_describe(entry))
        for user in recipe_file.recipe.system.users:
            click.echo(f"# user {describe_user(user)}")
        for script in recipe_file.recipe.scripts:
            click.echo(f"# script {script.source}{' with network' if script.network else ''}")
        click.echo(f"# enabled: {' '.join(init_of(recipe_file.recipe).enabled(recipe_file.recipe))}")
        click.echo(f"# cmdline: root=/dev/nfs nfsroot=... {' '.join(image_cmdline(recipe_file.recipe))}")
    else:
        click.echo(f"{recipe}: no fault found")


def _describe(entry: TreeEntry) -> str:
    match entry:
        case TreeFile():
            return _describe_file(entry)
        case TreeCopy():
            return f"{_head(entry)}\n({entry.source.size} bytes)\n"
        case TreeLink():
            return f"==> {entry.path} -> {entry.target}\n"
        case other:
            assert_never(other)


def _describe_file(entry: TreeFile) -> str:
    head = _head(entry)
    try:
        return f"{head}\n{entry.content.decode()}"
    except UnicodeDecodeError:
        return f"{head}\n({len(entry.content)} bytes)\n"


def _head(entry: TreeFile | TreeCopy) -> str:
    return f"==> {entry.path} {entry.mode:04o} {entry.uid}:{entry.gid}"
