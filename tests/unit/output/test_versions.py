"""Versions are found by path, by image and by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.errors import InputError
from builder.output.versions import find_version
from tests.versions import make_version


def test_a_version_has_several_names(tmp_path: Path) -> None:
    version = make_version(tmp_path, image="one", files=30)
    for name in (str(version), str(version.parent), str(version.parent / "latest"), "one", version.name):
        assert find_version(name, tmp_path) == version
    assert find_version(None, tmp_path).resolve() == version


def test_of_several_images_one_must_be_named(tmp_path: Path) -> None:
    for image in ("one", "two"):
        make_version(tmp_path, image=image, files=30)
    with pytest.raises(InputError, match="several images") as caught:
        find_version(None, tmp_path)
    assert "one" in (caught.value.hint or "")
    with pytest.raises(InputError, match="three is not a version") as caught:
        find_version("three", tmp_path)
    assert "one, two" in (caught.value.hint or "")
