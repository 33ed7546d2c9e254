"""Network drivers of an initramfs that ask for firmware which is not there: part of initramfs.

A card whose driver lacks its firmware brings no root. Source: MODULE_FIRMWARE of the kernel's modules, modinfo(8).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable, Mapping

from builder.distributions.table import distro_of
from builder.errors import CommandError
from builder.stages.context import Context
from builder.system.modules import module_name

_DRIVER = re.compile(r"(?:usr/)?lib/modules/[^/]+/(?:kernel|updates)/.*\bnet/.+\.ko(?:\.\w+)?")
_NOT_OF_CARDS = re.compile(r"/kernel/net/")  # protocols
_DIRECTORY = re.compile(r"(?:usr/)?lib/firmware/(?:updates/)?(.+?)(?:\.xz|\.zst)?")
_LINE = re.compile(r"^(filename|firmware):\s+(\S+)$", re.M)


def warn_of_firmware(context: Context, release: str, names: Collection[str]) -> None:
    """One warning that names the drivers, and where the distribution has their firmware; `names`: of the initramfs."""
    modules = [name for name in names if _DRIVER.fullmatch(name) and not _NOT_OF_CARDS.search(name)]
    drivers = sorted(set(map(module_name, modules)))
    if not drivers or not context.tree.exists("/sbin/modinfo"):
        return
    try:
        said = context.sandbox.run(
            ["modinfo", "-k", release, *drivers], chroot=context.workspace.tree, capture=True, log_output=False
        )
    except CommandError:
        return  # a driver that depmod does not know: it is only a warning that is missing
    missing = without_firmware(read_modinfo(said), names)
    if missing:
        for driver, files in missing.items():
            context.sandbox.runner.say(f"{driver} asks for firmware that is not there: {', '.join(files)}")
        context.progress.warn(
            f"{len(missing)} network drivers ask for firmware that the initramfs lacks, and some cards do not work "
            f"without: {', '.join(missing)}. {distro_of(context.recipe).firmware(context.recipe)}"
        )


def read_modinfo(text: str) -> dict[str, list[str]]:
    """The firmware that each module asks for, by its name."""
    found: dict[str, list[str]] = {}
    files: list[str] = []
    for field, value in _LINE.findall(text):
        if field == "filename":
            files = found.setdefault(module_name(value), [])
        else:
            files.append(value)
    return found


def without_firmware(wanted: Mapping[str, Iterable[str]], names: Iterable[str]) -> dict[str, list[str]]:
    """Drivers of whose firmware nothing is there: of what they list each card wants some."""
    there = {match[1] for name in names if (match := _DIRECTORY.fullmatch(posixpath.normpath(name)))}
    return {driver: sorted(files) for driver, files in sorted(wanted.items()) if files and there.isdisjoint(files)}
