"""Fetching what a lock names: from wherever the right bytes are, and nothing else, never more of them."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import cast

import pytest

from builder.errors import AuditError, TransferError
from builder.installers.base import Job, PackageSources
from builder.installers.locked import fetch_locked
from builder.installers.look import Proxies
from builder.model.artifacts.lock import Lock, LockedPackage, Origin
from builder.progress.progress import Progress
from tests.mirror import web_server

CONTENT = b"a package" * 1000
NAME = "hello_1-1_all.deb"
PACKAGE = LockedPackage("hello", "1-1", "all", NAME, len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), "")


class OnlyProgress:
    progress = Progress(io.StringIO())


def fetch(target: Path, *urls: str, today: tuple[str, ...] = (), sources: PackageSources | None = None) -> None:
    target.mkdir(exist_ok=True)
    lock = Lock((PACKAGE,), (), {NAME: Origin(urls)})
    fetch_locked(
        cast("Job", OnlyProgress()), lock, target, sources or PackageSources(), lambda one: today, Proxies({}, {})
    )


def test_whatever_lies_at_an_address_is_passed_over_until_the_right_bytes_come(tmp_path: Path) -> None:
    for name, content in {
        "gone": None,
        "other": b"x" * len(CONTENT),
        "long": CONTENT + b"x",
        "short": CONTENT[:-1],
    }.items():
        (tmp_path / name).mkdir()
        if content is not None:
            (tmp_path / name / NAME).write_bytes(content)
    (tmp_path / "right").mkdir()
    (tmp_path / "right" / NAME).write_bytes(CONTENT)
    with web_server(tmp_path) as mirror:
        fetch(tmp_path / "cache", *(f"{mirror}/{name}/{NAME}" for name in ("gone", "other", "long", "short", "right")))
        (tmp_path / "right" / NAME).rename(tmp_path / "today.deb")
        fetch(tmp_path / "second", f"{mirror}/gone/{NAME}", today=(f"{mirror}/today.deb",))
    for place in ("cache", "second"):
        assert [path.name for path in (tmp_path / place).iterdir()] == [NAME]
        assert (tmp_path / place / NAME).read_bytes() == CONTENT


def test_what_is_there_already_asks_nobody(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / NAME).write_bytes(CONTENT)
    fetch(tmp_path / "cache")
    (tmp_path / "cache" / NAME).write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(TransferError, match="1 of the locked packages could not be had"):
        fetch(tmp_path / "cache")


def test_a_directory_or_the_recipes_own_file_will_do(tmp_path: Path) -> None:
    kept = tmp_path / "it's kept, 100%"
    kept.mkdir()
    (kept / NAME).write_bytes(CONTENT)
    fetch(tmp_path / "cache", sources=PackageSources((tmp_path / "nowhere", kept)))
    own = kept / "called otherwise.deb"
    (kept / NAME).rename(own)
    fetch(tmp_path / "second", sources=PackageSources(files=(own,)))
    assert (tmp_path / "second" / NAME).read_bytes() == CONTENT


def test_each_place_is_named_with_its_reason(tmp_path: Path) -> None:
    with web_server(tmp_path, secret=401) as mirror, pytest.raises(TransferError) as caught:
        fetch(tmp_path / "cache", f"{mirror}/{NAME}", f"{mirror}/secret/{NAME}", "http://127.0.0.1:9/x", "file:///gone")
    said = "\n".join(caught.value.details)
    for words in ("does not have it (404", "wants a login (401", "does not take connections", "No such file"):
        assert words in said
    assert "--keep DIR" in str(caught.value.hint)
    assert list((tmp_path / "cache").iterdir()) == []


def test_another_file_of_that_name_is_no_accident(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"x" * len(CONTENT))
    with pytest.raises(AuditError, match="could not be had"):
        fetch(tmp_path / "cache", (tmp_path / NAME).as_uri())


def test_endless_content_is_not_written(tmp_path: Path) -> None:
    endless = tmp_path / "endless"
    endless.symlink_to("/dev/zero")
    with pytest.raises(AuditError):
        fetch(tmp_path / "cache", endless.as_uri())
    assert list((tmp_path / "cache").iterdir()) == []
