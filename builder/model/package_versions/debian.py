"""The order of versions of Debian's packages.

Source: Debian's policy manual, 5.6.12.
"""

from __future__ import annotations

import re

_PART = re.compile(r"([^0-9]*)([0-9]*)")
_Part = tuple[tuple[int, ...], int, str]
_END: _Part = ((0,), 0, "")
_NO_LETTER = 1 << 21  # more than any letter
VersionKey = tuple[tuple[int, str], list[_Part], list[_Part]]


def version_key(version: str) -> VersionKey:
    """Sorts versions: by epoch, by upstream's, by the revision; one that is empty before all others."""
    epoch, colon, rest = version.partition(":")
    if not colon or not re.fullmatch("[0-9]+", epoch):
        epoch, rest = "", version
    upstream, hyphen, revision = rest.rpartition("-")
    return _number(epoch), _parts(upstream if hyphen else rest), _parts(revision if hyphen else "")


def _parts(text: str) -> list[_Part]:
    """Text and number in turns; ~ sorts before the end, the end before letters, letters before everything else."""
    found: list[_Part] = []
    for word, digits in _PART.findall(text):
        found.append(((*map(_order, word), 0), *_number(digits)))
    while found and found[-1] == _END:
        found.pop()
    return [*found, _END, _END]  # as many as a version may have more than another one that sorts after it


def _number(digits: str) -> tuple[int, str]:
    """Sorts digits by value, however many they are."""
    digits = digits.lstrip("0")
    return len(digits), digits


def _order(character: str) -> int:
    if character == "~":
        return -1
    return ord(character) + (0 if character.isascii() and character.isalpha() else _NO_LETTER)
