"""Small root directories of the host's own programs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path


def copy_programs(root: Path, names: Iterable[str]) -> None:
    """Copies programs of the host with their libraries to bin and where the libraries lie, in a new root."""
    (root / "bin").mkdir(parents=True, exist_ok=True)
    for name in names:
        path = shutil.which(name, path="/usr/bin:/bin")
        assert path is not None
        shutil.copy(path, root / "bin")
        for word in subprocess.run(["ldd", path], capture_output=True, check=True, encoding="utf-8").stdout.split():
            if word.startswith("/"):
                target = root / word.lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(word, target)
