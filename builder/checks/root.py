"""Contradictions between how clients mount their root and what else the recipe says about it."""

from __future__ import annotations

from collections.abc import Iterator

from builder.generators.mount_options import is_known, remedy, why_unknown
from builder.generators.netroot import OVERLAY_ARGUMENT
from builder.generators.table import generator_of
from builder.model.fault import Fault, Place
from builder.model.recipe import NfsVersion, Recipe, RootMode

_BY_VERSION = ("vers", "nfsvers", "minorversion", "v3", "v4")
_BY_US = ("addr", "clientaddr")
# of the protocols beside NFSv3, which NFSv4 has within itself, nfs(5)
_OF_VERSION_3 = ("lock", "nolock", "mountaddr", "mounthost", "mountport", "mountproto", "mountvers", "acl", "noacl")
_OTHER_WORD = {RootMode.RW: "ro", RootMode.OVERLAY: "rw"}


def root_contradictions(recipe: Recipe) -> Iterator[Fault]:
    """All contradictions of root.mode, root.overlay_size and root.nfs."""
    yield from _mode(recipe)
    for position, option in enumerate(recipe.root.nfs.options):
        yield from _option(recipe, ("root", "nfs", "options", position), option)


def _mode(recipe: Recipe) -> Iterator[Fault]:
    root = recipe.root
    for position, word in enumerate(recipe.boot.cmdline):
        place: Place = ("boot", "cmdline", position)
        if word == _OTHER_WORD[root.mode]:
            yield Fault(place, f"'{word}' contradicts root.mode: {root.mode}", "remove one of the two")
        if word.partition("=")[0] == OVERLAY_ARGUMENT:
            yield Fault(place, f"'{word}' is set by root.overlay_size", "set it there instead")
    if root.overlay_size is not None and root.mode is not RootMode.OVERLAY:
        yield Fault(
            ("root", "overlay_size"),
            f"'overlay_size' is of root.mode: overlay, the mode is {root.mode}",
            "remove it, or set mode: overlay",
        )


def _option(recipe: Recipe, place: Place, option: str) -> Iterator[Fault]:
    name, version = option.partition("=")[0], recipe.root.nfs.version
    if name in _BY_VERSION:
        yield Fault(place, f"'{option}' is set by root.nfs.version", "remove it")
    if name in ("ro", "rw"):
        yield Fault(place, f"'{option}' is set by root.mode", "remove it")
    if name in _BY_US:
        yield Fault(place, f"'{option}' is known only when a client boots", "remove it")
    if name in _OF_VERSION_3 and version is not NfsVersion.V3:
        yield Fault(place, f"'{option}' is of NFSv3, the root is mounted with NFSv{version}", "remove it")
    if option in ("udp", "proto=udp"):
        yield Fault(
            place,
            f"'{option}': kernels no longer mount NFS over UDP (CONFIG_NFS_DISABLE_UDP_SUPPORT)",
            "remove it; TCP is the default",
        )
    mounter = generator_of(recipe).mounter(recipe)
    if not is_known(option, mounter) and not _is_said_already(option):
        yield Fault(place, why_unknown(option, mounter), remedy(option, mounter))


def _is_said_already(option: str) -> bool:
    return (
        option.partition("=")[0] in (*_BY_VERSION, *_BY_US, *_OF_VERSION_3, "ro", "rw", "udp") or option == "proto=udp"
    )
