"""A locked build of an Arch-shaped image: no repository, no network, no key, and the same version."""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path
from typing import Any

from builder.output.versions import read_manifest
from tests.arch_images import extra_repository, hello, write_arch_recipe
from tests.images import run_diskless
from tests.integration.builds.test_lock import without_network
from tests.pacman_distribution.distribution import NAME, pacman_distribution
from tests.pacman_distribution.package import Package
from tests.require import needs_arch_build
from tests.scratch import scratch

pytestmark = [*needs_arch_build]
PACKAGES = ["base", "linux", "mkinitcpio", "mkinitcpio-nfs-utils", "dhcpcd", "openssh", "tools", "hello"]


def recipe(directory: Path, **changes: Any) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    own = Package("own", "9.0-1")
    own.add_file("usr/bin/own", "#!/bin/sh\n", 0o755)
    files = [own.write(directory).name]
    more = extra_repository("more", [hello("8.0-1")], None) if not changes else {}
    distribution = {"package_files": files, **more, **changes}
    return write_arch_recipe(directory, packages=PACKAGES, distribution=distribution)


@functools.cache
def locked() -> Path:
    """A recipe of signed packages, unsigned ones and one of its own, with its lock; `kept` beside it."""
    path = recipe(scratch() / "arch-locked")
    done = run_diskless("lock", path, "--keep", path.parent / "kept", "--cache", scratch() / "cache")
    assert done.returncode == 0, done.stderr
    return path


def test_the_lock_says_where_each_package_lies() -> None:
    file = json.loads(locked().with_suffix(".lock").read_text("utf-8"))
    lines = {line["name"]: line for line in file["packages"]}
    directory = pacman_distribution().directory
    glibc = lines["glibc"]
    assert (glibc["repository"], glibc["signed"], glibc["urls"]) == (
        NAME,
        True,
        [f"file://{directory}/{glibc['filename']}"],
    )
    assert (lines["hello"]["repository"], lines["hello"]["signed"]) == ("more", False)
    assert (lines["own"]["repository"], lines["own"]["urls"]) == ("recipe", [])
    assert set(file["tools"]) >= {"pacman", "diskless", "libarchive", "zstd"}
    kept = {path.name for path in (locked().parent / "kept").iterdir()}
    assert kept == {line["filename"] for line in (*file["packages"], *file["loaders"])}


def test_a_locked_build_without_repositories_is_the_same_version(tmp_path: Path) -> None:
    options = ("--output", tmp_path / "usual", "--cache", scratch() / "cache")
    usual = run_diskless("build", locked(), *options)
    assert usual.returncode == 0, usual.stderr
    repositories = [{"name": NAME}, {"name": "more", "mirrors": ["file:///gone"], "signatures": "never"}]
    path = recipe(
        tmp_path / "recipe", mirrors=["file:///gone"], keyring="/nonexistent/test.gpg", repositories=repositories
    )
    shutil.copy(locked().with_suffix(".lock"), path.parent)
    kept = ("--locked", "--packages", locked().parent / "kept")
    done = without_network("build", path, "--output", tmp_path / "output", "--cache", tmp_path / "cache", *kept)
    assert done.returncode == 0, done.stderr
    first, second = Path(usual.stdout.strip()), Path(done.stdout.strip())
    assert read_manifest(second).packages == read_manifest(first).packages
    assert second.name == first.name
    for name in ("boot.tar.zst", "index.json.zst", "rootfs.tar.zst"):
        assert (second / name).read_bytes() == (first / name).read_bytes(), name
