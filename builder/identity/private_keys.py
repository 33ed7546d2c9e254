"""Private keys in a file, whatever wrote it.

Sources: RFC 7468 (PEM), OpenSSH's PROTOCOL.key, PuTTY's manual (PPK), RFC 9580 (OpenPGP), GnuPG's keyformat.txt,
Java's JavaKeyStore, BIND's dnssec-keygen(8), wg(8), age's specification, dropbear's signkey.c, RFC 7517 (JWK).
"""

from __future__ import annotations

import re
import struct

from builder.identity.der import der_key

_PEM_LABEL = rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----"
_PEM_MARK = re.compile(_PEM_LABEL)
# with what must follow: programs and manuals have the words alone
# No part of a pattern can match the same text in several ways: a file may be made to keep a search busy for days.
_PEM = re.compile(
    rb"(?:" + _PEM_LABEL + rb")\s{0,8}(?:\\n)?\s{0,8}(?:[\w-]{1,64}: [^\n]{0,1024}\n\s{0,8}){0,16}[A-Za-z0-9+/=\\]{24}"
)
_TEXTS = {
    "PuTTY": re.compile(rb"^PuTTY-User-Key-File-\d: ", re.M),
    "GnuPG": re.compile(rb"\A(?:[\w-]+: [^\n]*\n)*(?:Key: )?\((?:\d+:)?(?:protected-|shadowed-)?private-key"),
    "DNSSEC": re.compile(rb"^Private-key-format: v1", re.M),
    "a shared key of BIND": re.compile(rb'^[ \t]*secret[ \t]+"?[A-Za-z0-9+/]{16,}={0,2}"?\s*;', re.M),
    "WireGuard": re.compile(rb"^[ \t]*PrivateKey[ \t]*=[ \t]*[A-Za-z0-9+/]{43}=", re.M),
    "age": re.compile(rb"\bAGE-SECRET-KEY-1[0-9A-Z]{40,}"),
    "signify": re.compile(rb"\Auntrusted comment: [^\n]{0,200}secret key[^\n]{0,200}\n[A-Za-z0-9+/]{64,}"),
    "JWK": re.compile(rb'\A\s*\{(?=[^{}]*"kty"\s*:)(?=[^{}]*"(?:d|k)"\s*:\s*"[\w-]{16,})'),
    "RSA, as text": re.compile(rb"^[ \t]*(?:pri_exp|private_?exponent)[ \t]*[=:][ \t]*\S", re.I | re.M),
    "Tor": re.compile(rb"\A== ed25519v1-secret: "),
}
_KEYTAB = b"\x05\x02"
_SSH_NAMES = (b"ssh-rsa", b"ssh-dss", b"ssh-ed25519", b"ecdsa-sha2-nistp256", b"ecdsa-sha2-nistp384")
_KEYSTORES = (b"\xfe\xed\xfe\xed", b"\xce\xce\xce\xce")  # JKS, JCEKS
_PGP_VERSIONS = range(3, 7)


def private_key_in(content: bytes, *, marks: bool = False) -> str | None:
    """The format of a private key in a file's content; None where there is none.

    marks: whether the first line of a PEM is enough, whatever follows
    """
    if marks and _PEM_MARK.search(content):
        return "PEM"
    if _PEM.search(content):
        return "PEM"
    for name, pattern in _TEXTS.items():
        if pattern.search(content):
            return name
    return der_key(content) or _binary_key(content)


def _binary_key(content: bytes) -> str | None:
    if content.startswith(_KEYSTORES):
        return "a Java key store" if _has_key_entry(content) else None
    if (
        content[:2] == _KEYTAB
        and len(content) > 6
        and struct.unpack_from(">i", content, 2)[0] in range(8, len(content))
    ):
        return "a Kerberos keytab"
    if content[:3] == b"\0\0\0" and any(content[3:].startswith(bytes([len(name)]) + name) for name in _SSH_NAMES):
        return "Dropbear"
    return "OpenPGP" if _is_secret_packet(content) else None


def _is_secret_packet(content: bytes) -> bool:
    """Whether it begins with a packet of tag 5, of either format, and a version that such a key has."""
    if len(content) < 16:
        return False
    first = content[0]
    if first in (0x94, 0x95, 0x96):
        begin = 1 + (1, 2, 4)[first & 3]
        length = int.from_bytes(content[1:begin], "big")
    elif first == 0xC5 and content[1] < 224:
        begin = 2 if content[1] < 192 else 3
        length = content[1] if begin == 2 else ((content[1] - 192) << 8) + content[2] + 192
    else:
        return False
    # version, time of 4 bytes, algorithm: RSA to EdDSA, RFC 9580 9.1
    is_known = content[begin] in _PGP_VERSIONS and content[begin + 5] in range(1, 29)
    return is_known and 16 <= length <= len(content) - begin


def _has_key_entry(content: bytes) -> bool:
    """Whether an entry of a key store is a key: those of certificates alone are lists of whom to trust."""
    try:
        version, count = struct.unpack_from(">II", content, 4)
        position = 12
        for _ in range(count):
            (tag,) = struct.unpack_from(">I", content, position)
            if tag != 2:
                return True
            position = _after_text(content, position + 4) + 8
            position = _after_text(content, position) if version == 2 else position
            position += 4 + struct.unpack_from(">I", content, position)[0]
    except struct.error:
        return True  # it is not what it says, and was not looked through
    return False


def _after_text(content: bytes, position: int) -> int:
    return int(position + 2 + struct.unpack_from(">H", content, position)[0])
