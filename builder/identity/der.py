"""Private keys in DER, by their structure: X.690, RFC 5208 and 5958 (PKCS#8), 8017 (RSA), 5915 (EC), 7292 (PKCS#12)."""

from __future__ import annotations

from collections.abc import Iterator

_INTEGER, _OCTETS, _OID, _SEQUENCE = 0x02, 0x04, 0x06, 0x30
# of algorithms that keys are for: RSA, DSA, DH, EC, and the four of RFC 8410
_ALGORITHMS = tuple(
    map(bytes.fromhex, ("2a864886f70d0101", "2a8648ce3804", "2a8648ce3e", "2a864886f70d0103", "2a8648ce3d02", "2b65"))
)
_ENCRYPTION = tuple(map(bytes.fromhex, ("2a864886f70d0105", "2a864886f70d010c01")))  # PKCS#5, and that of PKCS#12
_PKCS7_DATA = bytes.fromhex("06092a864886f70d0107")
# bags of PKCS#12 that hold a key, plain or encrypted; a store of certificates alone has neither
_KEY_BAGS = tuple(map(bytes.fromhex, ("060b2a864886f70d010c0a0101", "060b2a864886f70d010c0a0102")))
_FEWEST_NUMBERS = 6  # of a traditional DSA key; RSA has nine


def der_key(data: bytes) -> str | None:
    """What kind of private key some DER is; None where it is none."""
    if data[:2] == b"\x30\x80":  # PKCS#12 in BER, of no length that is told
        return _pkcs12(data) if data[2:5] == b"\x02\x01\x03" else None
    top = _only_sequence(data)
    if top is None:
        return None
    try:
        parts = list(_elements(top))
    except ValueError:
        return None
    return _kind(parts, data)


def _kind(parts: list[tuple[int, bytes]], data: bytes) -> str | None:
    tags = [tag for tag, _ in parts]
    if tags[:2] == [_INTEGER, _SEQUENCE] and parts[0][1] == b"\x03":
        return _pkcs12(data)
    if tags[:3] == [_INTEGER, _SEQUENCE, _OCTETS] and _has_oid(parts[1][1], _ALGORITHMS):
        return "PKCS#8"
    if tags == [_SEQUENCE, _OCTETS] and _has_oid(parts[0][1], _ENCRYPTION):
        return "PKCS#8, encrypted"
    if len(parts) >= _FEWEST_NUMBERS and set(tags[:_FEWEST_NUMBERS]) == {_INTEGER} and len(parts[0][1]) == 1:
        return "PKCS#1"
    if tags[:2] == [_INTEGER, _OCTETS] and parts[0][1] == b"\x01" and len(parts[1][1]) in range(20, 73):
        return "SEC 1"
    return None


def _pkcs12(data: bytes) -> str | None:
    if _PKCS7_DATA not in data[:64] or not any(bag in data for bag in _KEY_BAGS):
        return None
    return "PKCS#12"


def _has_oid(content: bytes, prefixes: tuple[bytes, ...]) -> bool:
    try:
        tag, value = next(_elements(content), (0, b""))
    except ValueError:
        return False
    return tag == _OID and value.startswith(prefixes)


def _only_sequence(data: bytes) -> bytes | None:
    """The content of a sequence that is all of `data`, but for a line's end."""
    if data[:1] != b"\x30":
        return None
    try:
        _, content, end = _element(data, 0)
    except ValueError:
        return None
    return content if not data[end:].strip(b"\r\n\0") else None


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(data):
        tag, content, position = _element(data, position)
        yield tag, content


def _element(data: bytes, position: int) -> tuple[int, bytes, int]:
    """Tag, content, and where the next begins; ValueError where there is none."""
    if position + 2 > len(data):
        raise ValueError("it ends within an element")
    tag, length = data[position], data[position + 1]
    begin = position + 2
    if length & 0x80:
        size = length & 0x7F
        if not 0 < size <= 4:
            raise ValueError("a length of no usual size")
        length = int.from_bytes(data[begin : begin + size], "big")
        begin += size
    if begin + length > len(data):
        raise ValueError("an element that ends beyond its end")
    return tag, data[begin : begin + length], begin + length
