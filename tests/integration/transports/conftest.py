"""What modules of this directory have in common."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.transports.base import Options
from tests.places import HASTY, Place, registry_place
from tests.strict_registry import StrictRegistry, strict_registry


@pytest.fixture
def registry() -> Iterator[StrictRegistry]:
    """A registry with limits and manners of its own."""
    with strict_registry() as opened:
        yield opened


@pytest.fixture
def place(registry: StrictRegistry, tmp_path: Path) -> Place:
    """That registry, as a place to upload to."""
    return registry_place(registry.server, Options(cache=tmp_path / "cache", retries=HASTY))
