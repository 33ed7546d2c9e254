"""What a transfer keeps: nothing half written stays, and others may clear it at any time."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.errors import AuditError
from builder.transports.base import Options
from builder.transports.kept import Kept, open_kept

CONTENT = b"content"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def test_a_piece_that_did_not_fit_leaves_nothing(tmp_path: Path) -> None:
    """Each attempt of a timer would leave one more on a disk that is full already."""
    directory = tmp_path / "kept"
    (directory / DIGEST).mkdir(parents=True)  # the rename cannot replace it
    with pytest.raises(OSError, match="directory"):
        Kept(directory).write(DIGEST, b"data")
    assert [path.name for path in directory.iterdir()] == [DIGEST]


@pytest.mark.parametrize("form", ["{}", "../{}", "..", "", "ab", "{}\0", "\ud800", "a" * 63, DIGEST + "/.."])
def test_what_is_no_digest_names_no_file(form: str, tmp_path: Path) -> None:
    """Neither to make nor to remove one; whatever a manifest called so."""
    victims = (tmp_path / "victim", tmp_path / "victim.part")
    for victim in victims:
        victim.write_bytes(CONTENT)
    name = form.format(victims[0] if form == "{}" else "victim")
    kept = Kept(tmp_path / "kept")
    kept.write(DIGEST, CONTENT)
    attempts: list[Callable[[], object]] = [
        lambda: kept.has(name),
        lambda: kept.read(name),
        lambda: kept.write(name, b""),
        lambda: kept.whole(name, 7),
        lambda: kept.forget(name),
        lambda: kept.partial(name).__enter__(),
    ]
    for attempt in attempts:
        with pytest.raises(AuditError, match="is not a SHA-256 digest"):
            attempt()
    assert [victim.read_bytes() for victim in victims] == [CONTENT, CONTENT]
    assert len(list(tmp_path.rglob("*"))) == 4


def test_what_is_used_is_not_removed(tmp_path: Path) -> None:
    """Neither by who is through with it nor by who forgets what is old; when nobody uses it any more it goes."""
    place = tmp_path / ("a" * 32)
    one, two = Kept(place), Kept(place)
    for kept in (one, two):
        with kept.fetching(lambda text: None):
            kept.write(DIGEST, CONTENT)
    one.clear()
    os.utime(place, (0, 0))
    Kept(tmp_path / ("b" * 32)).forget_old()
    assert two.read(DIGEST) == CONTENT
    two.clear()
    assert not place.exists()
    with two.fetching(lambda text: None):
        assert two.read(DIGEST) is None


def test_what_is_damaged_is_removed(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "v")
    kept.write(DIGEST, CONTENT)
    (tmp_path / "v" / DIGEST).write_bytes(b"other")
    assert kept.read(DIGEST) is None
    assert not (tmp_path / "v" / DIGEST).exists()


def test_only_a_few_are_kept(tmp_path: Path) -> None:
    names = [f"{number:032}" for number in range(30)]
    for number, name in enumerate(names):
        Kept(tmp_path / name).write(DIGEST, CONTENT)
        os.utime(tmp_path / name, (time.time() - 1000 + number,) * 2)
    Kept(tmp_path / names[29]).forget_old()
    assert sorted(path.name for path in tmp_path.iterdir()) == names[22:]


def test_what_is_not_ours_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a cache that we may write to, pieces lie in the directory of temporary files, beside everybody's.

    0.1 removed from there what was older than a week.
    """
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in (*map(str, range(20)), *(f"{number:032}" for number in range(20))):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (0, 0))
    kept = open_kept(Options(), "versions", "0" * 32)
    kept.forget_old()
    assert len(list(tmp_path.iterdir())) == 41
    shared = Kept(tmp_path / ("f" * 32))
    shared.write(DIGEST, CONTENT)
    shared.forget_old()
    assert {str(number) for number in range(20)} < {path.name for path in tmp_path.iterdir()}
