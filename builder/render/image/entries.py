"""Every file that a build writes into an image, from the recipe alone."""

from __future__ import annotations

from collections.abc import Mapping

from builder.distributions.table import distro_of
from builder.generators.table import generator_of
from builder.inits.table import init_of
from builder.model.entry import FileBeside, TreeCopy, TreeEntry, TreeFile
from builder.model.recipe import File, Recipe
from builder.render.image.fstab import fstab
from builder.render.image.lease import lease_entries
from builder.render.image.network import network_arguments, network_entries
from builder.render.image.resolver import resolver_entries
from builder.render.image.system import system_entries


def image_entries(
    recipe: Recipe, sources: Mapping[str, bytes], large: Mapping[str, FileBeside] | None = None
) -> list[TreeEntry]:
    """All files and links in the order of writing; the recipe's own files come last and win.

    sources, large: the files beside the recipe, by their names in it
    """
    return [
        *distro_of(recipe).source_entries(recipe),
        *system_entries(recipe.system, locale_file=distro_of(recipe).locale_file),
        TreeFile("/etc/fstab", fstab(recipe.filesystems).encode()),
        *resolver_entries(recipe),
        *lease_entries(recipe),
        *network_entries(recipe.network),
        *generator_of(recipe).entries(recipe),
        *init_of(recipe).entries(recipe),
        *(_own(file, sources, large or {}) for file in recipe.files),
    ]


def image_cmdline(recipe: Recipe) -> tuple[str, ...]:
    """The kernel arguments of the image, besides those that name its root."""
    given = {word.partition("=")[0] for word in recipe.boot.cmdline}
    more = [*generator_of(recipe).arguments(recipe), *network_arguments(recipe.network)]
    return tuple(dict.fromkeys([*recipe.boot.cmdline, *(word for word in more if word.partition("=")[0] not in given)]))


def _own(file: File, sources: Mapping[str, bytes], large: Mapping[str, FileBeside]) -> TreeEntry:
    uid, _, gid = file.owner.partition(":")
    owner = int(file.mode, 8), int(uid), int(gid)
    if file.source is not None and file.source in large:
        return TreeCopy(file.path, large[file.source], *owner)
    return TreeFile(file.path, file.text.encode() if file.text is not None else sources[file.source or ""], *owner)
