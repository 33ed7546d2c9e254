"""Whether a configuration is as its package brought it, so that nobody's work is lost with it.

Sources: dpkg's status file (Conffiles, deb822(5)); pacman's local database (%BACKUP%); tftpd-hpa's postinst,
which writes its file itself.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from builder.probes.configured.directive import below
from builder.render.server.tftp import DEFAULTS_FILE

_DPKG, _PACMAN = "/var/lib/dpkg/status", "/var/lib/pacman/local"
_TFTPD = {"TFTP_USERNAME": "tftp", "TFTP_DIRECTORY": "/srv/tftp", "TFTP_OPTIONS": "--secure"}
_TFTPD_ADDRESSES = {":69", "0.0.0.0:69", "[::]:69"}


def is_stock(prefix: Path, path: str, content: bytes) -> bool:
    """Whether `content` is what a package of the server at `prefix` has for this path."""
    # not for safety: it is what package managers write down
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if _is_in(below(prefix, _DPKG), f" {path} {digest}"):
        return True
    local = below(prefix, _PACMAN)
    lists = local.glob("*/files") if local.is_dir() else ()
    if any(_is_in(file, f"{path.lstrip('/')}\t{digest}") for file in lists):
        return True
    return path == DEFAULTS_FILE and _is_stock_tftpd(prefix, content.decode("utf-8", "replace"))


def _is_stock_tftpd(prefix: Path, text: str) -> bool:
    found = dict(re.findall(r"^(TFTP_\w+)=\"?([^\"\n]*)\"?\s*$", text, re.M))
    served = below(prefix, _TFTPD["TFTP_DIRECTORY"])
    serves_nothing = not served.is_dir() or not any(served.iterdir())
    address = found.pop("TFTP_ADDRESS", ":69")
    return address in _TFTPD_ADDRESSES and serves_nothing and all(_TFTPD.get(key) == found[key] for key in found)


def _is_in(path: Path, line: str) -> bool:
    try:
        with path.open("r", encoding="utf-8", errors="replace") as lines:
            return any(one.rstrip("\n") == line for one in lines)
    except OSError:
        return False
