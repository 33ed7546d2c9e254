"""What a build takes from its host: the release, the list of mirrors, the proxies."""

from __future__ import annotations

import os
import re
from pathlib import Path

from builder.errors import HostError

_SERVER = re.compile(r"^\s*Server\s*=\s*(\S+)\s*$", re.MULTILINE)
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


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


def proxy_variables() -> dict[str, str]:
    """The proxy settings of the environment, environ(7), as curl and apt read them."""
    return {name: os.environ[name] for name in _PROXIES if name in os.environ}


def require_mount_table(program: str) -> None:
    """HostError when /etc/mtab is missing, as in a bare chroot: some programs find file systems by it alone."""
    if not Path("/etc/mtab").exists():
        raise HostError(f"/etc/mtab is missing, and {program} reads it", "ln -s ../proc/self/mounts /etc/mtab")
