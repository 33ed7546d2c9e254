"""Deploys to a file system made for it; runs in a mount namespace of its own, which takes the mounts away at its end."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from builder.errors import DisklessError
from tests.stores import deployed, faults

_MAKE = {
    "ext4": ("mkfs.ext4", "-q", "-F"),
    "ext4-few-inodes": ("mkfs.ext4", "-q", "-F", "-N", "64"),
    "xfs": ("mkfs.xfs", "-q", "-f"),
    "btrfs": ("mkfs.btrfs", "-q", "-f"),
    "vfat": ("mkfs.vfat",),
}
_OVERLAY = "lowerdir={0}/lower,upperdir={0}/upper,workdir={0}/work"


def main(kind: str, parts: str, place: Path, versions: Sequence[Path]) -> dict[str, object]:
    """Mounts, deploys, looks; `parts` is the part of the store that gets the file system, or empty for all of it."""
    mount = place / "store" / parts
    mount.mkdir(exist_ok=True)
    if kind == "overlay":
        for name in ("lower", "upper", "work"):
            (place / name).mkdir()
        _run("mount", "-t", "overlay", "-o", _OVERLAY.format(place), "none", mount)
    else:
        _run(*_MAKE[kind], place / "image")
        _run("mount", "-o", "loop", place / "image", mount)
    try:
        done = deployed(place / "store", *versions)
    except DisklessError as error:
        left = [str(path) for path in (place / "store/versions").glob("*")] if parts == "" else []
        return {"error": error.message, "left": left}
    return {
        "error": None,
        "unpacked": [vars(one.unpacked) for one in done],
        "faults": [str(finding) for finding in faults(place / "store")],
        "shared": "shared" in _run("filefrag", "-v", done[-1].root / "usr/bin/perl"),
    }


def _run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout


if __name__ == "__main__":
    answer = main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), [Path(name) for name in sys.argv[4:]])
    sys.stdout.write(json.dumps(answer))
