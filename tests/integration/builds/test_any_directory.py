"""A whole build where the directory hands down all that it can gives the version of a clean one, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.model.artifacts.manifest import BUNDLE, INDEX, MANIFEST, ROOTFS
from tests.images import debian_image, run_diskless
from tests.inheriting import file_system, make_inheriting
from tests.require import needs_network, needs_root, needs_tool
from tests.scratch import new_place, scratch

pytestmark = [
    needs_root,
    needs_network,
    needs_tool("mmdebstrap", "chattr", "mkfs.ext4", "mkfs.xfs", "mkfs.btrfs"),
    pytest.mark.root,
    pytest.mark.network,
    pytest.mark.full,
]


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_the_version_is_that_of_a_clean_directory(kind: str) -> None:
    version = debian_image()
    recipe = scratch() / "recipes" / version.parent.name / "debian-nfs.yml"
    with file_system(kind, new_place()) as point:
        output, cache = make_inheriting(point / "output", kind), make_inheriting(point / "cache", kind)
        done = run_diskless("build", recipe, "--output", output, env={"DISKLESS_CACHE": str(cache)})
        assert done.returncode == 0, done.stderr
        other = Path(done.stdout.strip())
        for name in (ROOTFS, BUNDLE, INDEX, MANIFEST):
            assert (other / name).read_bytes() == (version / name).read_bytes(), name
