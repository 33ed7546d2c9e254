"""Texts that a person has read: `UPDATE_GOLDEN=1 pytest ...` writes them anew, `git diff` shows what changed."""

from __future__ import annotations

import os
from pathlib import Path

TESTS = Path(__file__).parent
GOLDEN = TESTS / "golden"


def check_golden(path: Path, text: str) -> None:
    """The text must be that of the file."""
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    assert path.is_file(), f"{path} does not exist: read what UPDATE_GOLDEN=1 writes there"
    with path.open(encoding="utf-8", newline="") as file:
        assert text == file.read()
