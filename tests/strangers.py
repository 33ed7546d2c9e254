"""Another user of this machine, and a place where they can look."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.scratch import scratch

STRANGER = 65534
# may it be opened, for whatever, and locked
_HOLD = """
import fcntl, os, sys
for path in sys.argv[1:]:
    for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
        try:
            handle = os.open(path, flags)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        print(path)
        break
"""


@contextmanager
def open_ground() -> Iterator[Path]:
    """A directory that everybody may enter, on a real disk."""
    place = Path(tempfile.mkdtemp(prefix="ground-", dir=scratch()))
    place.chmod(0o755)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def as_stranger(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """What another user gets to see."""
    words = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups", "--", *map(str, command)]
    return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", check=False)


def held_by_stranger(*paths: Path) -> list[str]:
    """Those of the files that another user could lock."""
    program = sys.executable if os.access(sys.executable, os.X_OK) else "python3"
    readable = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else program
    return as_stranger(readable, "-I", "-c", _HOLD, *paths).stdout.splitlines()


def open_to_others(top: Path) -> dict[str, str]:
    """What of a tree, itself included, has a mode beyond 0640 or 0750."""
    found = {}
    for path in (top, *sorted(top.rglob("*"))):
        info = path.lstat()
        if not stat.S_ISLNK(info.st_mode) and info.st_mode & 0o027:
            found[str(path.relative_to(top.parent))] = stat.filemode(info.st_mode)
    return found
