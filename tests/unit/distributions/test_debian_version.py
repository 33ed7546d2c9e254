"""Versions of Debian's packages are ordered as dpkg orders them."""

from __future__ import annotations

import itertools
import subprocess

import pytest

from builder.model.package_versions.debian import version_key
from tests.require import needs_tool

# each less than the next
ASCENDING = [
    "1~~",
    "1~~a",
    "1~",
    "1",
    "1.47~1+deb12u1",
    "1.47+deb12u1",
    "2.06-3~deb11u5",
    "2.06-3",
    "2.06-9",
    "2.06-13",
    "2.06-13+deb12u1",
    "2.06-13+deb12u2",
    "2.06-13+deb12u10",
    "2.12~rc1-1",
    "2.12",
    "2.12-1~bpo12+1",
    "2.12-1",
    "2.12-9",
    "2.12-9+deb13u1",
    "2.12a-1",
    "2.12+b-1",
    "2.12+dfsg-1",
    "2.12-1-1",
    "2.12.1-1",
    "16.1",
    "16.1-2~deb12u1",
    "1:1.0-1",
]
SAME = [("2.12", "2.12-0"), ("2.012", "2.12"), ("1a", "1a0"), ("2.12-1", "0:2.12-1"), ("16.1-", "16.1")]


def test_they_ascend() -> None:
    pairs = itertools.combinations(ASCENDING, 2)
    assert [pair for pair in pairs if not version_key(pair[0]) < version_key(pair[1])] == []


@pytest.mark.parametrize(("one", "other"), SAME)
def test_what_is_the_same(one: str, other: str) -> None:
    assert version_key(one) == version_key(other)


def test_nothing_is_less_than_any() -> None:
    assert [version for version in ASCENDING if not version_key("") < version_key(version)] == []


@needs_tool("dpkg")
def test_dpkg_says_the_same() -> None:
    pairs = [*itertools.pairwise(ASCENDING), *itertools.combinations(ASCENDING[::3], 2)]
    said = [subprocess.call(["dpkg", "--compare-versions", one, "lt", other]) for one, other in pairs]
    same = [subprocess.call(["dpkg", "--compare-versions", one, "eq", other]) for one, other in SAME[:-1]]
    assert [pair for pair, status in zip(pairs, said, strict=True) if status != 0] == []
    assert same == [0] * len(same)


@pytest.mark.parametrize("version", ["a:1", "1:", "-", "²", "größe", "1" * 5000, "~" * 5000])
def test_what_is_no_version_is_no_error(version: str) -> None:
    """A loader says it of itself."""
    assert version_key(version) == version_key(version)
