"""What only some releases of nfs-ganesha can do.

READ_PLUS is NFSv4.2's other way to read (RFC 7862, section 15.10). To it nfs-ganesha 2.8 to 6.1 says that the file ends
there, with no byte of it, whatever the file holds; the client believes it, and init cannot be started. From 6.2 on it
refuses the operation, and clients read with READ. NFSv4.1 has none.

Since 5.3 it passes over every tmpfs when it looks for file systems to export.

Sources: nfs-ganesha's commits 24da5c304 and e21025367; Linux commit 9cf2744d2491, "Enable the READ_PLUS operation by
default".
"""

from __future__ import annotations

import re

_BROKEN_SINCE, _REPAIRED = (2, 8), (6, 2)
_ASKS_SINCE = (6, 6)
_NO_TMPFS_SINCE = (5, 3)
_NUMBERS = re.compile(r"(\d+)\.(\d+)")


def asks_with_read_plus(kernel: str) -> bool:
    """Whether a client of this Linux release reads so over NFSv4.2, e.g. 6.12.118+deb13-amd64."""
    return _version(kernel) >= _ASKS_SINCE


def answers_with_nothing(ganesha: str) -> bool:
    """Whether this release of nfs-ganesha, e.g. V4.3, makes of every file an empty one for such a client."""
    return _BROKEN_SINCE <= _version(ganesha) < _REPAIRED


def exports_tmpfs(ganesha: str) -> bool:
    """Whether this release of nfs-ganesha, e.g. V6.5, can export a directory of a tmpfs."""
    return _version(ganesha) < _NO_TMPFS_SINCE


def _version(text: str) -> tuple[int, int]:
    """The first two numbers; (0, 0) where there are none."""
    found = _NUMBERS.search(text)
    return (int(found[1]), int(found[2])) if found else (0, 0)
