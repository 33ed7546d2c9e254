"""identity: what packages made for one machine is taken out, and made anew by each root that boots.

Before the initramfs, which would carry it to everybody who asks the TFTP server.
"""

from __future__ import annotations

import posixpath
import stat
from collections.abc import Collection, Iterator

from builder.identity.known import KNOWN
from builder.inits.table import init_of
from builder.model.identity import KnownIdentity, RemovedFile
from builder.model.recipe import Recipe
from builder.stages.context import Context
from builder.system.tree import Tree


def run(context: Context) -> None:
    """Removes each identity that the image's init can have made anew at boot, and tells it how.

    What is known to nobody stays: the audit names it.
    """
    with context.progress.step("identity"):
        meant = meant_paths(context.recipe)
        for path in context.recipe.system.shared_identities:
            if not context.tree.exists(path):
                context.progress.warn(f"system.shared_identities: no package made {path}")
        for known in KNOWN:
            _replace(context, known, meant)


def meant_paths(recipe: Recipe) -> frozenset[str]:
    """What every client may have in common: the recipe says so."""
    return frozenset({*(file.path for file in recipe.files), *recipe.system.shared_identities})


def _replace(context: Context, known: KnownIdentity, meant: Collection[str]) -> None:
    tree = context.tree
    found = [path for path in known_files(tree, known) if path not in meant]
    if not found or not tree.exists(known.program):
        return
    removed = tuple(_described(tree, path) for path in found)
    entries = init_of(context.recipe).identity_entries(known, removed)
    if not entries:
        return
    for path in found:
        _remove_links(tree, path)
        tree.remove(path)
    for entry in entries:
        tree.write(entry)
    context.sandbox.runner.say(f"{known.title}: {', '.join(found)} removed; each root makes its own")


def known_files(tree: Tree, known: KnownIdentity) -> Iterator[str]:
    """The files of an identity that are in a tree."""
    for pattern in known.paths:
        directory, name = posixpath.split(pattern)
        for found in tree.names(directory, name):
            yield posixpath.join(directory, found)


def _described(tree: Tree, path: str) -> RemovedFile:
    info = tree.status(path)
    return RemovedFile(path, stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid)


def _remove_links(tree: Tree, path: str) -> None:
    """Links beside a file that lead to it: certificates have one with the name of their hash."""
    directory, name = posixpath.split(path)
    for other in tree.names(directory):
        if tree.link(posixpath.join(directory, other)) in (name, path):
            tree.remove(posixpath.join(directory, other))
