"""Which ids a build gets, by what the host's tables say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from builder.errors import HostError
from builder.system.userns import ids
from builder.system.userns.ids import IdMap, IdRange, every_id, find_ids


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tables of an ordinary user's host: `alice` runs the build."""
    for kind in ("uid", "gid"):
        (tmp_path / kind).write_text("", "ascii")
    monkeypatch.setattr(ids, "_SUBIDS", {kind: tmp_path / kind for kind in ("uid", "gid")})
    monkeypatch.setattr("shutil.which", lambda name, path=None: None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    monkeypatch.setattr(ids, "_user_name", lambda: "alice")
    return tmp_path


def subids(host: Path, *lines: str) -> None:
    for kind in ("uid", "gid"):
        (host / kind).write_text("".join(f"{line}\n" for line in lines), "ascii")


def test_a_users_own(host: Path) -> None:
    subids(host, "bob:100000:65536", "alice:165536:65536")
    part = (IdRange(0, 165536, 65535),)
    assert find_ids() == IdMap(part, part)
    assert find_ids().name == "165536"


def test_by_number_and_in_pieces(host: Path) -> None:
    subids(host, "1000:100000:40000", "alice:300000:30000")
    part = (IdRange(0, 100000, 40000), IdRange(40000, 300000, 25535))
    assert find_ids() == IdMap(part, part)


def test_the_last_one_serves_an_owner_beyond(host: Path) -> None:
    subids(host, "alice:100000:65536")
    assert find_ids([1000200001]).users[-1] == IdRange(1000200001, 165535, 1)
    with pytest.raises(
        HostError, match=r"65536 subordinate user ids, an image needs 65537 .owners up to 65534, and 70000, 80000"
    ):
        find_ids([80000, 70000, 12])


@pytest.mark.parametrize(
    ("line", "has"),
    [
        ("bob:100000:65536", "no subordinate user ids"),
        ("alice:100000:1000", "1000 subordinate user ids"),
        ("alice:x:y", "no"),
    ],
)
def test_too_few_are_said_with_what_to_do(host: Path, line: str, has: str) -> None:
    subids(host, line)
    with pytest.raises(HostError, match=f"alice has {has}") as caught:
        find_ids()
    assert "usermod --add-subuids " in str(caught.value.hint)
    assert str(caught.value.hint).endswith(" alice")


def test_what_others_have_is_not_proposed(host: Path) -> None:
    subids(host, "bob:100000:65536", "carol:165536:65536")
    with pytest.raises(HostError) as caught:
        find_ids()
    assert "231072-296607" in str(caught.value.hint)


def test_groups_count_too(host: Path) -> None:
    subids(host, "alice:100000:65536")
    (host / "gid").write_text("", "ascii")
    with pytest.raises(HostError, match="alice has no subordinate group ids"):
        find_ids()


def test_root_has_a_range_that_nobody_uses(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(ids, "_own_map", lambda kind: [range(2**32 - 1)])
    first = find_ids().users[0].outside
    assert first >= 1_879_048_192
    subids(host, f"containers:{first}:1000000")
    assert find_ids().users[0].outside >= first + 1000000


@pytest.mark.parametrize(("count", "works"), [(65536, True), (65535, False), (1, False), (2**31, True)])
def test_root_of_a_container_has_all_but_its_own(
    host: Path, monkeypatch: pytest.MonkeyPatch, count: int, works: bool
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(ids, "_own_map", lambda kind: [range(count)])
    if works:
        outside = {part.outside for part in find_ids().users}
        assert 0 not in outside
    else:
        with pytest.raises(HostError, match="this user namespace has"):
            find_ids()


def test_all_of_them_are_for_who_removes(host: Path) -> None:
    subids(host, "alice:100000:65536", "alice:300000:10")
    assert every_id().users == (IdRange(0, 100000, 65536), IdRange(65536, 300000, 10))
    subids(host)
    with pytest.raises(HostError):
        every_id()
