"""Every file that a build writes into an image, from the recipe alone."""

from __future__ import annotations

from collections.abc import Mapping

from builder.model.entry import TreeEntry, TreeFile
from builder.model.recipe import File, Recipe
from builder.render.apt import image_sources
from builder.render.fstab import fstab
from builder.render.initramfs import initramfs_entries
from builder.render.network import network_arguments, network_entries, network_services
from builder.render.system import ssh_key_entries, system_entries


def image_entries(recipe: Recipe, sources: Mapping[str, bytes]) -> list[TreeEntry]:
    """All files and links in the order of writing; the recipe's own files come last and win."""
    return [
        TreeFile("/etc/apt/sources.list", image_sources(recipe.distribution).encode()),
        *system_entries(recipe.system),
        TreeFile("/etc/fstab", fstab(recipe.filesystems).encode()),
        *network_entries(recipe.network),
        *initramfs_entries(recipe.initramfs),
        *ssh_key_entries(),
        *(_own(file, sources) for file in recipe.files),
    ]


def enabled_services(recipe: Recipe) -> list[str]:
    """Units to enable, without repetition."""
    return list(dict.fromkeys([*network_services(recipe.network), *recipe.system.services]))


def image_cmdline(recipe: Recipe) -> tuple[str, ...]:
    """The kernel arguments of the image, besides those that name its root."""
    return tuple(dict.fromkeys([*recipe.boot.cmdline, *network_arguments(recipe.network)]))


def _own(file: File, sources: Mapping[str, bytes]) -> TreeFile:
    content = file.text.encode() if file.text is not None else sources[file.source or ""]
    uid, _, gid = file.owner.partition(":")
    return TreeFile(file.path, content, int(file.mode, 8), int(uid), int(gid))
