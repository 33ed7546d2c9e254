"""What a SHA-256 looks like wherever one is written: 64 small hexadecimal digits."""

from __future__ import annotations

import re

SHA256 = re.compile("[0-9a-f]{64}")


def is_sha256(text: str) -> bool:
    """Whether a text is one, as a whole."""
    return SHA256.fullmatch(text) is not None
