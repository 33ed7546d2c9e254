"""What the place of a store gives is no part of a version, and what it keeps servers from is said."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from builder.model.version import Version
from builder.store.layout import find_store
from tests.require import needs_root
from tests.scratch import new_place
from tests.stores import deployed, faults, version

pytestmark = [needs_root, pytest.mark.root]
_DEFAULT, _ACCESS = "system.posix_acl_default", "system.posix_acl_access"


def acl(group: int) -> bytes:
    """rwx for a group besides owner and group, as the kernel has it: posix_acl_xattr.h."""
    none = 0xFFFFFFFF
    entries = [(0x01, 7, none), (0x04, 5, none), (0x08, 7, group), (0x10, 7, none), (0x20, 5, none)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def give(directory: Path, how: str) -> None:
    """Gives a directory what administrators give directories, for all that is made in it."""
    if how in ("default ACL", "all"):
        os.setxattr(directory, _DEFAULT, acl(4242))
        os.setxattr(directory, _ACCESS, acl(4242))
    if how in ("setgid", "all"):
        os.chown(directory, -1, 4242)
        directory.chmod(0o2775)


def lists_below(top: Path) -> list[str]:
    return [
        str(path.relative_to(top))
        for path in (top, *top.rglob("*"))
        if not path.is_symlink() and {_DEFAULT, _ACCESS} & set(os.listxattr(path))
    ]


@pytest.mark.parametrize("how", ["default ACL", "setgid", "all"])
@pytest.mark.parametrize("mode", ["overlay", "rw"])
def test_what_a_place_gives_is_in_no_version(how: str, mode: str) -> None:
    above = new_place()
    give(above, how)
    place = above / "store"
    before = os.umask(0o077)
    try:
        deployed(place, version("1", mode=mode), version("2", mode=mode))
    finally:
        os.umask(before)
    store = find_store(place)
    for number in "12":
        (directory,) = place.glob(f"*/lab/{version(number, mode=mode).name}/root")
        assert lists_below(directory) == []
        assert not directory.stat().st_mode & 0o2000
    assert faults(place, deep=True) == []
    assert faults(place, deep=False) == []
    assert store.version_names("lab") == sorted(Version(version(number, mode=mode).name) for number in "12")


def test_an_access_list_that_came_later_is_seen_without_reading_everything() -> None:
    place = new_place() / "store"
    deployed(place, version("1"))
    (root,) = place.glob(f"*/lab/{version('1').name}/root")
    os.setxattr(root / "etc/name", _ACCESS, acl(4242))
    found = faults(place, deep=False)
    assert ["etc/name" in "".join(fault.details) for fault in found] == [True], found


def test_a_parent_that_tftp_cannot_enter_is_named() -> None:
    above = new_place()
    above.chmod(0o700)
    deployed(above / "store", version("1"))
    messages = [fault.message for fault in faults(above / "store", deep=False)]
    assert [message for message in messages if f"chmod o+x {above}" in message]
    above.chmod(0o711)
    assert faults(above / "store", deep=False) == []
