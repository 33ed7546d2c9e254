"""What a transfer keeps: nothing half written stays, and others may clear it at any time."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from builder.transports.kept import Kept

CONTENT = b"content"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def test_a_piece_that_did_not_fit_leaves_nothing(tmp_path: Path) -> None:
    """Each attempt of a timer would leave one more on a disk that is full already."""
    directory = tmp_path / "kept"
    (directory / "ab").mkdir(parents=True)  # the rename cannot replace it
    with pytest.raises(OSError, match="directory"):
        Kept(directory).write("ab", b"data")
    assert [path.name for path in directory.iterdir()] == ["ab"]


def test_what_is_used_is_not_removed(tmp_path: Path) -> None:
    """Neither by who is through with it nor by who forgets what is old; when nobody uses it any more it goes."""
    one, two = Kept(tmp_path / "v"), Kept(tmp_path / "v")
    for kept in (one, two):
        with kept.fetching(lambda text: None):
            kept.write(DIGEST, CONTENT)
    one.clear()
    os.utime(tmp_path / "v", (0, 0))
    Kept(tmp_path / "other").forget_old()
    assert two.read(DIGEST) == CONTENT
    two.clear()
    assert not (tmp_path / "v").exists()
    with two.fetching(lambda text: None):
        assert two.read(DIGEST) is None


def test_what_is_damaged_is_removed(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "v")
    kept.write(DIGEST, CONTENT)
    (tmp_path / "v" / DIGEST).write_bytes(b"other")
    assert kept.read(DIGEST) is None
    assert not (tmp_path / "v" / DIGEST).exists()


def test_what_a_server_calls_a_digest_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    kept = Kept(tmp_path / "v")
    kept.write(DIGEST, CONTENT)
    for name in ("../secret", "/etc/passwd", "", ".", "a" * 63, DIGEST + "/.."):
        assert kept.read(name) is None


def test_only_a_few_are_kept(tmp_path: Path) -> None:
    for number in range(30):
        Kept(tmp_path / str(number)).write(DIGEST, CONTENT)
        os.utime(tmp_path / str(number), (time.time() - 1000 + number,) * 2)
    Kept(tmp_path / "29").forget_old()
    assert sorted(path.name for path in tmp_path.iterdir()) == [str(number) for number in range(22, 30)]
