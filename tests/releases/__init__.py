"""What earlier releases wrote, in a few kilobytes: NUMBER.tar.gz holds output/, registry/, store/, allowed_signers.

output/ has lab (overlay, two versions) and desk (rw); registry/ is a directory that lab's second version was uploaded
to, signed, with the tag stable; in store/, made as /srv/diskless/store, a client is pinned to lab's first version, and
the kernel that a client of desk installed is served.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

FIRST, SECOND, DESK = "20260102-c460a8c8", "20260103-4ec378bf", "20260102-b0162832"


def unpack_release(number: str, place: Path) -> Path:
    """Unpacks what a release wrote into `place` and returns that; needs root, since the files have owners."""
    archive = Path(__file__).parent / f"{number}.tar.gz"
    options = ["--xattrs", "--xattrs-include=*", "--numeric-owner", "--same-owner"]
    subprocess.run(["tar", *options, "-xpf", archive, "-C", place], check=True)
    return place
