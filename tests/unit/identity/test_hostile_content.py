"""Files that were made to keep a search busy: each of these took minutes, or for ever, with a careless pattern."""

from __future__ import annotations

import pytest

from builder.identity.marks import id_in, secret_in
from builder.identity.private_keys import private_key_in

MARK = b"-----BEGIN RSA PRIVATE KEY-----"
MOST = 1 << 20
SMALL = 60_000  # larger files are no ids or secrets
CONTENTS = {
    "blank lines": b"\n" * MOST,
    "spaces": b" " * MOST,
    "spaces after a mark": MARK + b" " * MOST,
    "marks and spaces": (MARK + b" " * 20) * (MOST // 60),
    "headers on one line": MARK + b"\n" + b"a: " * (MOST // 3),
    "headers": MARK + b"\n" + b"a: b\n" * (MOST // 5),
    "a word": b"a" * MOST,
    "digits": b"0" * MOST,
    "words": b"secret " * (MOST // 7),
    "equals": b"=" * MOST,
    "words of ids": b"host" * (MOST // 4),
    "spaces after a word": b"secret" + b" " * MOST,
    "a comment of signify": b"untrusted comment: " + b"secret key" * (MOST // 10),
    "words in one": b"secretsecret" * (MOST // 12),
    "quotes": b"secret='" + b"a'" * (MOST // 2),
    "braces": b'{"kty":' * (MOST // 7),
    "zeros": bytes(MOST),
    "nested DER": b"0\x84\x00\x0f\xff\xfa" * (MOST // 6),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_the_search_comes_to_an_end(name: str) -> None:
    content = CONTENTS[name]
    for part in (content, content[:SMALL], b"#" + content[:SMALL], content[:SMALL] + b"!"):
        assert private_key_in(part) is None
        assert id_in("/etc/file", part) is None
        secret_in("/etc/file", part)
