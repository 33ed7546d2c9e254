"""Editing a tree from outside, also while the rest of the machine renames files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from builder.model.entry import TreeFile
from builder.system.tree import Tree

# openat2(2) gives up a path with `..` when a rename happens anywhere meanwhile
RENAMES = "import os\nwhile True:\n os.rename('a', 'b'); os.rename('b', 'a')"


def test_dots_are_resolved_whatever_else_is_renamed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    root = tmp_path / "tree"
    (root / "etc/deep").mkdir(parents=True)
    (root / "usr/share/data").mkdir(parents=True)
    (root / "etc/deep/link").symlink_to("../../usr/share/../share/data")
    with subprocess.Popen([sys.executable, "-c", RENAMES], cwd=tmp_path) as process:
        try:
            for number in range(2000):
                Tree(root).write(TreeFile("/etc/deep/link/file", b"%d" % number))
        finally:
            process.kill()
    assert (root / "usr/share/data/file").read_bytes() == b"1999"
    assert [path.name for path in (root / "usr/share/data").iterdir()] == ["file"]
