"""The order of versions of Arch Linux's packages: vercmp(8), as libalpm's rpmvercmp compares them."""

from __future__ import annotations

import re
from itertools import zip_longest

_SEGMENT = re.compile(r"([^0-9A-Za-z]*)([0-9]+|[A-Za-z]+)")
_Segment = tuple[str, str]


def is_older(version: str, other: str) -> bool:
    """Whether `version` sorts before `other`; a release that one of them lacks is not compared."""
    (epoch, upstream, release), (other_epoch, other_upstream, other_release) = _split(version), _split(other)
    order = _compare(epoch, other_epoch) or _compare(upstream, other_upstream)
    if order == 0 and release and other_release:
        order = _compare(release, other_release)
    return order < 0


def _split(version: str) -> tuple[str, str, str]:
    epoch, colon, rest = version.partition(":")
    if not colon or not epoch.isdigit():
        epoch, rest = "0", version
    upstream, hyphen, release = rest.rpartition("-")
    return (epoch, upstream, release) if hyphen else (epoch, rest, "")


def _compare(one: str, other: str) -> int:
    if one == other:
        return 0
    for left, right in zip_longest(_SEGMENT.findall(one), _SEGMENT.findall(other)):
        if left is None or right is None:
            return _longer(left, right)
        order = _compare_segments(left, right)
        if order:
            return order
    return 0


def _longer(left: _Segment | None, right: _Segment | None) -> int:
    """Which is newer, where one has a segment more: the longer one, but for a letter without a separator (1.0rc1)."""
    segment = left or right
    assert segment is not None
    newer = 1 if left is not None else -1
    return -newer if segment[1].isalpha() and not segment[0] else newer


def _compare_segments(left: _Segment, right: _Segment) -> int:
    if len(left[0]) != len(right[0]):
        return 1 if len(left[0]) > len(right[0]) else -1
    if left[1].isdigit() != right[1].isdigit():
        return 1 if left[1].isdigit() else -1
    if left[1].isdigit():
        numbers = int(left[1]), int(right[1])
        return (numbers[0] > numbers[1]) - (numbers[0] < numbers[1])
    return (left[1] > right[1]) - (left[1] < right[1])
