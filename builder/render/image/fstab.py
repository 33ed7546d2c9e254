"""/etc/fstab, fstab(5)."""

from __future__ import annotations

from collections.abc import Sequence

from builder.model.recipe import Filesystem

_HEAD = "# <source> <target> <type> <options> <dump> <pass>\n"


def fstab(filesystems: Sequence[Filesystem]) -> str:
    """One line a file system; never checked by fsck at boot: a client without disks has none to check."""
    return _HEAD + "".join(_line(filesystem) for filesystem in filesystems)


def _line(filesystem: Filesystem) -> str:
    fields = [filesystem.source, filesystem.target, filesystem.type]
    if filesystem.options is None and filesystem.type == "none":
        return " ".join(fields) + "\n"
    options = ",".join(filesystem.options or ("defaults",))
    return "\t".join([*fields, options, "0", "0"]) + "\n"
