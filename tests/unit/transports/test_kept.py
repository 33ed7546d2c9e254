"""What a transfer keeps: nothing half written stays, and others may clear it at any time."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.transports.kept import Kept


def test_a_piece_that_did_not_fit_leaves_nothing(tmp_path: Path) -> None:
    """Each attempt of a timer would leave one more on a disk that is full already."""
    directory = tmp_path / "kept"
    (directory / "ab").mkdir(parents=True)  # the rename cannot replace it
    with pytest.raises(OSError, match="directory"):
        Kept(directory).write("ab", b"data")
    assert [path.name for path in directory.iterdir()] == ["ab"]
