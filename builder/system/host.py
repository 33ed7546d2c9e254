"""What a recipe takes from the build host: its release, its list of mirrors."""

from __future__ import annotations

import re
from pathlib import Path

from builder.errors import HostError

_SERVER = re.compile(r"^\s*Server\s*=\s*(\S+)\s*$", re.MULTILINE)


def os_release() -> dict[str, str]:
    """os-release(5) of this host, empty where there is none."""
    try:
        lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    return {name: value.strip("\"'") for name, _, value in (line.partition("=") for line in lines)}


def read_mirrorlist(path: Path) -> tuple[str, ...]:
    """The servers of a mirror list as pacman.conf(5) includes it, in order; OSError where it cannot be read."""
    return tuple(_SERVER.findall(path.read_text(encoding="utf-8", errors="replace")))


def require_mount_table(program: str) -> None:
    """HostError when /etc/mtab is missing, as in a bare chroot: some programs find file systems by it alone."""
    if not Path("/etc/mtab").exists():
        raise HostError(f"/etc/mtab is missing, and {program} reads it", "ln -s ../proc/self/mounts /etc/mtab")
