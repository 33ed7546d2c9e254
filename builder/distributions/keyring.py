"""Contradictions of distribution.keyring, whatever the distribution."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from builder.model.fault import Fault, Place
from builder.model.recipe import ArchKeyring, DebianKeyring, keyring_package
from builder.model.syntax import PackageName, Syntax

_PACKAGE: Syntax = get_args(PackageName)[1]
_PLACE: Place = ("distribution", "keyring")


def keyring_contradictions(keyring: DebianKeyring | ArchKeyring, path: str | None) -> Iterator[Fault]:
    """All of them."""
    if keyring.fingerprints and not keyring.newest:
        yield Fault(
            (*_PLACE, "fingerprints"),
            "'fingerprints' vouch for the newest keyring package, which is not asked for",
            "add newest: true, or remove them",
        )
    for position, key in enumerate(keyring.keys):
        if key in keyring.keys[:position]:
            yield Fault((*_PLACE, "fingerprints", position), f"the key {key} is listed twice", "keep one of the two")
    if keyring.newest and path is not None and not _PACKAGE.accepts(keyring_package(path)):
        yield Fault(
            (*_PLACE, "path"),
            f"'{keyring_package(path)}' cannot be a package, and newest: true asks for the one named after the file",
            "give the file the name that it has in its package, such as archlinux.gpg of archlinux-keyring",
        )
