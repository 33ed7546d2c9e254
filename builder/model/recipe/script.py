"""The scripts of a recipe, and what a manifest says of them."""

from __future__ import annotations

from dataclasses import dataclass

from builder.model.syntax import SourcePath, key


@dataclass(frozen=True, kw_only=True)
class Script:
    """One program that runs as root in the finished tree, before the initramfs is made.

    Its environment is SOURCE_DATE_EPOCH, DISKLESS_IMAGE, HOME, PATH, TERM, LC_ALL=C.UTF-8 and
    DEBIAN_FRONTEND=noninteractive; any exit status but 0 fails the build.
    """

    source: SourcePath = key("a file beside the recipe that begins with #!", short=True)
    network: bool = key("with network: what it fetches is then neither locked nor the same at the next build", False)


@dataclass(frozen=True)
class RanScript:
    """One script that a build ran: its name, the SHA-256 of its content, and whether it had a network."""

    source: str
    sha256: str
    network: bool
