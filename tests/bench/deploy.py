"""Deploys against tar and rsync: a whole version, and the reference change (one library and 20 edited text files).

Each round on an ext4 file system of its own: for minutes after something was removed, ext4 makes files ten times
slower, and whoever comes later in a round would be measured by what the others left.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from builder.archive.members import read_members
from builder.archive.unpack import read_index, unpack
from builder.archive.writer import scan_tree, write_archive, write_index
from builder.deploy import DeployOptions, deploy
from builder.model.artifacts.index import root_digest
from builder.model.artifacts.manifest import BUNDLE, INDEX, MANIFEST, ROOTFS, Artifact, NfsRoot
from builder.model.recipe import NfsVersion, RootMode
from builder.model.version import Version
from builder.output.offer import offer_directory
from builder.output.versions import read_manifest
from builder.system.files import sha256_of
from tests.scratch import scratch
from tests.stores import SERVER, quiet

ROUNDS = 3
_IMAGE = "4G"
_TAR = ("tar", "--zstd", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf")
_RSYNC = ("rsync", "-aHAX", "--numeric-ids")


def bench_deploy(version: Path) -> None:
    """Prints our time in the peers': medians of the ratios, each of one round of runs by turns."""
    place = scratch() / "deploy-bench"
    trees = {number: place / f"tree-{number}" for number in (1, 2)}
    trees[1].mkdir(parents=True)
    unpack(version / ROOTFS, version / INDEX, trees[1])
    subprocess.run(["cp", "-a", trees[1], trees[2]], check=True)
    _apply_reference_change(trees[2])
    for number in (1, 2):
        _pack(version, trees[number], place / str(number))
    ratios: dict[str, list[float]] = {}
    times: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        found = _round_on_new_filesystem(place)
        for who, seconds in found.items():
            times.setdefault(who, []).append(seconds)
        for name, ours, peer in (
            ("full deploy / tar", "deploy", "tar"),
            ("change / tar", "change", "tar of the change"),
            ("change / rsync --link-dest", "change", "rsync"),
        ):
            ratios.setdefault(name, []).append(found[ours] / found[peer])
    for name, values in ratios.items():
        sys.stdout.write(f"{name:44} {statistics.median(values):5.2f} of the peer's time\n")
    for who, values in times.items():
        sys.stdout.write(f"    {who:30} {statistics.median(values):6.2f} s, median of {len(values)}\n")


def _round_on_new_filesystem(place: Path) -> dict[str, float]:
    image, mount = place / "image", place / "mount"
    mount.mkdir(exist_ok=True)
    _run("fallocate", "-l", _IMAGE, image)
    _run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
    # its mount goes with its namespace
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", "tests.bench.deploy", str(place)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    image.unlink()
    return found


def _round(place: Path) -> dict[str, float]:
    mount = place / "mount"
    _run("mount", "-o", "loop", place / "image", mount)
    store, by_tar, by_rsync = mount / "store", mount / "by-tar", mount / "by-rsync"
    for path in (by_tar / "1", by_tar / "2"):
        path.mkdir(parents=True)
    for number in (1, 2):
        _run("cp", "-a", place / f"tree-{number}", mount)
    found = {}
    found["tar"] = _timed(lambda: _run(*_TAR, place / "1" / ROOTFS, "-C", by_tar / "1"))
    found["deploy"] = _timed(lambda: _deploy(place / "1", store))
    found["tar of the change"] = _timed(lambda: _run(*_TAR, place / "2" / ROOTFS, "-C", by_tar / "2"))
    found["change"] = _timed(lambda: _deploy(place / "2", store))
    found["rsync"] = _timed(lambda: _run(*_RSYNC, f"--link-dest={mount}/tree-1", f"{mount}/tree-2/", f"{by_rsync}/"))
    return found


def _timed(run: Callable[[], object]) -> float:
    """Seconds until what was written is on disk, on a disk that has nothing else to write."""
    _sync()
    started = time.monotonic()
    run()
    _sync()
    return time.monotonic() - started


def _sync() -> None:
    """Twice: what the file system writes the first time are pages of its image for the one below."""
    os.sync()
    os.sync()


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True)


def _deploy(version: Path, store: Path) -> None:
    deploy(offer_directory(version), store, DeployOptions(SERVER), quiet())


def _apply_reference_change(tree: Path) -> None:
    """OpenSSL's libraries (5.9 MB) and 20 text files spread over the tree, by rename as package managers do."""
    library = next(path for path in sorted(tree.rglob("libcrypto.so.3*")) if not path.is_symlink())
    others = sorted(tree.rglob("libssl.so.3*"))
    texts = [path for path in sorted((tree / "usr/share").rglob("*")) if path.is_file() and not path.is_symlink()]
    edited = [path for path in texts if 200 < path.stat().st_size < 20000][:: max(1, len(texts) // 25)][:20]
    for path in (library, *(path for path in others if not path.is_symlink()), *edited):
        content = bytearray(path.read_bytes())
        content[len(content) // 2 :: 997] = bytes(len(content[len(content) // 2 :: 997]))
        new = path.with_name(f".{path.name}.new")
        new.write_bytes(content + b"edited\n")
        shutil.copystat(path, new)
        new.replace(path)


def _pack(version: Path, tree: Path, directory: Path) -> None:
    """A version of `tree` with a read-only root, and the bundle of `version`."""
    directory.mkdir()
    manifest = read_manifest(version)
    index = write_archive(scan_tree(tree, manifest.epoch), directory / ROOTFS)
    shutil.copyfile(version / BUNDLE, directory / BUNDLE)
    write_index(index, directory / INDEX)
    bundle = {name: hashlib.sha256(data).hexdigest() for name, data in read_members(directory / BUNDLE).items()}
    digest = root_digest(index.files, bundle)
    changed = dataclasses.replace(
        manifest,
        root=NfsRoot(RootMode.OVERLAY, NfsVersion.V4_2, ()),
        version=Version.of(manifest.epoch, digest),
        root_digest=digest,
        entries=len(index.files),
        size=sum(record.size for record in index.files),
        artifacts={
            name: Artifact((directory / name).stat().st_size, sha256_of(directory / name))
            for name in (ROOTFS, BUNDLE, INDEX)
        },
    )
    (directory / MANIFEST).write_text(changed.to_json(), encoding="utf-8")


def bench_phases(version: Path) -> None:
    """What the time of a deploy is made of: for people who want to make it faster."""
    index = read_index(version / INDEX)
    started = time.monotonic()
    read_index(version / INDEX)
    sys.stdout.write(f"    read the index of {len(index.files)} entries   {time.monotonic() - started:6.2f} s\n")
    started = time.monotonic()
    root_digest(index.files, {})
    sys.stdout.write(f"    root digest                      {time.monotonic() - started:6.2f} s\n")
    started = time.monotonic()
    for name in (ROOTFS, BUNDLE):
        sha256_of(version / name)
    sys.stdout.write(f"    checksums of the artifacts       {time.monotonic() - started:6.2f} s\n")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_round(Path(sys.argv[1]))))
