"""Reading a keyring out of a package of which nothing is known yet: nothing is unpacked onto the disk."""

from __future__ import annotations

import posixpath
from collections.abc import Collection
from pathlib import Path

import libarchive

from builder.errors import AuditError

_LARGEST = 64 << 20  # bytes of one file; Arch Linux's keyring has two million


def read_files(archive: Path, paths: Collection[str]) -> dict[str, bytes]:
    """The contents of those of `paths` (without leading slash) that the archive has, symbolic links followed.

    AuditError where it is not an archive, or a file in it is too large for a keyring.
    """
    files: dict[str, bytes] = {}
    links: dict[str, str] = {}
    directories = {posixpath.dirname(path) for path in paths}
    try:
        with libarchive.file_reader(str(archive)) as reader:
            for member in reader:
                name = posixpath.normpath(member.pathname)
                if posixpath.dirname(name) not in directories:
                    continue
                if member.issym:
                    links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkpath))
                elif member.isfile:
                    files[name] = _content(archive, name, member.get_blocks())
    except libarchive.ArchiveError as error:
        raise AuditError(f"{archive.name} is not a package: {error}", "try another mirror") from error
    found = {path: links.get(path, path) for path in paths}
    return {path: files[target] for path, target in found.items() if target in files}


def _content(archive: Path, name: str, blocks: Collection[bytes]) -> bytes:
    content = bytearray()
    for block in blocks:
        content += block
        if len(content) > _LARGEST:
            raise AuditError(f"{name} in {archive.name} is too large for a keyring", "try another mirror")
    return bytes(content)
