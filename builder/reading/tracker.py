"""The file of a tracker of security, as it was downloaded."""

from __future__ import annotations

import json
from pathlib import Path

from builder.errors import InputError

_MOST = 1 << 30  # bytes; Debian's has 60 million
_HINT = (
    "give the JSON that Debian has at security-tracker.debian.org/tracker/data/json, "
    "or Arch Linux at security.archlinux.org/all.json"
)


def read_tracker(path: Path) -> object:
    """What the JSON file says; InputError where it is none."""
    try:
        with path.open("rb") as file:
            data = file.read(_MOST + 1)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", _HINT) from error
    if len(data) > _MOST:
        raise InputError(f"{path} is larger than any tracker's file", _HINT)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}", _HINT) from error
