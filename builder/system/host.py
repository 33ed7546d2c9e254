"""What a build takes from its host: the release, the list of mirrors, the proxies."""

from __future__ import annotations

import os
import re
from pathlib import Path

_LIKE = {"debian": "debian", "ubuntu": "debian", "arch": "arch"}
_SERVER = re.compile(r"^\s*Server\s*=\s*(\S+)\s*$", re.MULTILINE)
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def os_release(root: Path = Path("/")) -> dict[str, str]:
    """os-release(5) of this host, or of the one below `root`; empty where there is none."""
    for name in ("etc/os-release", "usr/lib/os-release"):
        try:
            lines = (root / name).read_text(encoding="utf-8").splitlines()
        except OSError:
            continue
        return {key: value.strip("\"'") for key, _, value in (line.partition("=") for line in lines)}
    return {}


def host_family(root: Path = Path("/")) -> str | None:
    """What a host is or is like (ID_LIKE): debian, arch, or None."""
    release = os_release(root)
    names = [release.get("ID", ""), *release.get("ID_LIKE", "").split()]
    return next((_LIKE[name] for name in names if name in _LIKE), None)


def debian_suite(root: Path = Path("/")) -> str | None:
    """The release of Debian that a host is, or is made from; None where it is not like Debian or does not say.

    Ubuntu's and Mint's own codenames are none of Debian's: /etc/debian_version (`trixie/sid`) or DEBIAN_CODENAME says.
    """
    release = os_release(root)
    own = release.get("VERSION_CODENAME")
    if release.get("ID") == "debian" or host_family(root) != "debian":
        return own if release.get("ID") == "debian" else None
    try:
        version = (root / "etc/debian_version").read_text(encoding="utf-8").strip()
    except OSError:
        version = ""
    named = version.partition("/")[0] if version[:1].isalpha() else None
    return release.get("DEBIAN_CODENAME") or named or (own if version else None)


def read_mirrorlist(path: Path) -> tuple[str, ...]:
    """The servers of a mirror list as pacman.conf(5) includes it, in order; OSError where it cannot be read."""
    return tuple(_SERVER.findall(path.read_text(encoding="utf-8", errors="replace")))


def proxy_variables() -> dict[str, str]:
    """The proxy settings of the environment, environ(7), as curl and apt read them."""
    return {name: os.environ[name] for name in _PROXIES if name in os.environ}
