"""Files that look like a secret or an id of one machine, without being a key of a known format."""

from __future__ import annotations

import posixpath
import re
import zlib

_LARGEST = 64 << 10  # bytes: keys and ids are small
_SMALLEST_RANDOM = 16
_PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ", b"PK\x03\x04", b"\x89PNG", b"\xff\xd8\xff")
_SECRET_NAME = re.compile(r"(?:\.key|\.keytab|\.psk|\.pfx|\.p12|_key|authkey|cookie|secret\w*)$", re.I)
_TOKEN = re.compile(rb"[A-Za-z0-9+/=_.:-]{16,4096}\s*")
_WORDS = rb"(?:pass(?:word|wd|phrase)|secret|psk|token|api_?key|auth_?key)"
_ASSIGNED = re.compile(
    rb"^(?![ \t]*[#;])[^\n=:#]{0,80}\b\w{0,24}" + _WORDS + rb"\w{0,24}[\"']?(?:[ \t]{0,64}[=:][ \t]{0,64}|[ \t]{1,64})"
    rb"(?:[\"'][^\"'\n]{8,}[\"']|[^\s\"';#{}*!]{8,})",
    re.I | re.M,
)
_UUID = rb"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
_ONLY_ID = re.compile(rb"\s*(?:" + _UUID + rb"|[0-9a-f]{32})\s*", re.I)
_OF_MACHINES = r"(?:host|machine|server|system|client|node|engine|installation|initiator)"
_ID_NAME = re.compile(rf"(?:^|[-_.]){_OF_MACHINES}[-_.]?(?:id|uuid|nqn|name\.iscsi)(?:$|[.])", re.I)
_ID_TEXT = (
    re.compile(rb"^InitiatorName=\S", re.M),
    re.compile(rb"\bnqn\.2014-08\.org\.nvmexpress:uuid:" + _UUID, re.I),
    re.compile(
        rb"^(?![ \t]*[#;])[^\n=#]{0,80}" + _OF_MACHINES.encode() + rb"[-_ ]?(?:uuid|id)[\"']?[ \t]*[=:][ \t]*[\"']?"
        rb"(?:" + _UUID + rb"|[0-9a-f]{16,})\b",
        re.I | re.M,
    ),
)


def id_in(path: str, content: bytes) -> str | None:
    """Why a file looks like the id of one machine; None where it does not."""
    if not content.strip() or len(content) > _LARGEST:
        return None
    if _ID_NAME.search(posixpath.basename(path)):
        return "an id of one machine, by its name"
    if _ONLY_ID.fullmatch(content) or any(pattern.search(content) for pattern in _ID_TEXT):
        return "an id of one machine"
    return None


def secret_in(path: str, content: bytes) -> str | None:
    """Why a file that others may not read looks like a secret; None where it does not."""
    if not content.strip() or len(content) > _LARGEST:
        return None
    if _SECRET_NAME.search(posixpath.basename(path)):
        return "a secret, by its name"
    if _TOKEN.fullmatch(content):
        return "a secret: one long word that others may not read"
    if _is_random(content):
        return "a secret: random bytes that others may not read"
    if _ASSIGNED.search(content):
        return "a password or token in a file that others may not read"
    return None


def _is_random(content: bytes) -> bool:
    if len(content) < _SMALLEST_RANDOM or content.startswith(_PACKED) or content.isascii():
        return False
    return len(zlib.compress(content, 9)) >= len(content)
