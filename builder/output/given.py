"""Version directories as they are given: others may have made them, so no link in them is followed, nothing but plain
files opened, and of those no more read than a version can have.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from builder.errors import AuditError, HostError, InputError
from builder.model.artifacts.manifest import BUNDLE, CHECKSUMS, INDEX, MANIFEST
from builder.model.version import VERSION
from builder.system.guarded.held import HeldDirectory
from builder.system.guarded.links import resolve_given

SIGNATURE = f"{MANIFEST}.sig"
_PIECE = 1 << 20
_AGAIN = "copy the version again, whole, or build it again"
# bytes; of the archive the manifest says it, and what is read of it
LARGEST = {MANIFEST: 16 << 20, SIGNATURE: 64 << 10, CHECKSUMS: 64 << 10, INDEX: 256 << 20, BUNDLE: 1 << 30}


def resolve_version(path: Path) -> Path:
    """The real path of a version's directory; a tag leads to a version beside it, whoever made it.

    InputError for a link of another user's.
    """
    return resolve_given(path, VERSION.accepts)


def hold_version(path: Path) -> HeldDirectory:
    """A version's directory; InputError where there is none, HostError where this user may not read it."""
    try:
        return HeldDirectory.at(resolve_version(path))
    except PermissionError as error:
        raise may_not_read(path) from error
    except OSError as error:
        raise InputError(f"{path} is not a version of an image: {error.strerror}", VERSION_HINT) from error


VERSION_HINT = "give OUTPUT/IMAGE/VERSION or OUTPUT/IMAGE/latest"


def may_not_read(path: Path) -> HostError:
    """What to say to a user whom an image is kept from."""
    return HostError(
        f"{path} may not be read by this user: an image has secrets in it, such as /etc/shadow",
        "run it with sudo, or as the user who built it",
    )


def open_given(version: HeldDirectory, name: str) -> BinaryIO:
    """A file of a version, to read; AuditError where it is none, a link for example, or larger than any."""
    path = version.path / name
    try:
        file = version.open(name)
    except OSError as error:
        raise AuditError(f"{path}: {error.strerror}", _AGAIN) from error
    size = os.fstat(file.fileno()).st_size
    if size > LARGEST.get(name, size):
        file.close()
        raise AuditError(f"{path} has {size} bytes, and {LARGEST[name]} at most in any version", _AGAIN)
    return file


def size_of_given(version: HeldDirectory, name: str) -> int:
    """The size of a file of a version, in bytes; AuditError where it is none."""
    path = version.path / name
    try:
        info = os.stat(name, dir_fd=version.handle, follow_symlinks=False)
    except OSError as error:
        raise AuditError(f"{path}: {error.strerror}", _AGAIN) from error
    if not stat.S_ISREG(info.st_mode):
        raise AuditError(f"{path}: is not a plain file", _AGAIN)
    return info.st_size


def copy_given(version: HeldDirectory, name: str, target: Path) -> None:
    """Copies a file of a version; errors as of `open_given`."""
    with open_given(version, name) as file, target.open("wb") as copy:
        left = os.fstat(file.fileno()).st_size  # and no more, whoever appends to it
        while left > 0 and (data := file.read(min(_PIECE, left))):
            copy.write(data)
            left -= len(data)


def read_given(version: HeldDirectory, name: str) -> bytes:
    """The content of a small file of a version; errors as of `open_given`."""
    with open_given(version, name) as file:
        return file.read(LARGEST[name])
