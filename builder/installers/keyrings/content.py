"""What a file that a recipe names may be: its bytes reach programs of packages, which may be nobody's friend."""

from __future__ import annotations

import re
from pathlib import Path

from builder.errors import InputError

_ARMOUR = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"
_SECRET = b"PRIVATE KEY"
_PUBLIC_KEY = 6  # the tag of its packet, RFC 9580, 4.2 and 5
# archlinux-trusted and archlinux-revoked: fingerprints, with what gpg --import-ownertrust takes
_LISTED = re.compile(rb"(?:#.*|[0-9A-Fa-f]{16,64}(?::\d{1,9}:?)?)?")
_LONGEST_LIST = 1 << 20
# zstd, xz, gzip, bzip2, lz4; and ustar where a tar begins
_ARCHIVES = (b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"\x1f\x8b", b"BZh", b"\x04\x22\x4d\x18")
_TAR = slice(257, 262)


def require_public_keys(path: Path) -> None:
    """InputError unless a plain file holds public OpenPGP keys or a list of fingerprints."""
    if not path.is_file():
        return  # a directory of packages, or what is missing is said elsewhere
    content = path.read_bytes()
    if not _is_public(content):
        message = f"{path} holds no public keys that gpg can read"
        raise InputError(message, "give a file of public keys, as `gpg --export` writes it")


def require_archive(path: Path) -> None:
    """InputError unless a plain file is an archive, as every package of pacman is."""
    with path.open("rb") as file:
        start = file.read(_TAR.stop)
    if not start.startswith(_ARCHIVES) and start[_TAR] != b"ustar":
        raise InputError(
            f"{path} is not a pacman package", "package_files are files such as NAME-1.0-1-any.pkg.tar.zst"
        )


def _is_public(content: bytes) -> bool:
    if _SECRET in content:
        return False
    if _ARMOUR in content:
        return True
    if content[:1] >= b"\x80":
        first = content[0]
        return (first & 0x3F if first & 0x40 else first >> 2 & 0x0F) == _PUBLIC_KEY
    return len(content) <= _LONGEST_LIST and all(_LISTED.fullmatch(line.strip()) for line in content.splitlines())
