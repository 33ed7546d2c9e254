"""`make bench`: ours and a peer by turns on the same input; prints the ratio of the shortest times, and of sizes."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from builder.archive.unpack import read_index, unpack
from builder.archive.writer import scan_tree, write_archive
from builder.model.artifacts.manifest import INDEX, ROOTFS
from tests.bench.build import bench_build
from tests.bench.deploy import bench_deploy, bench_phases
from tests.images import build_image
from tests.scratch import scratch

ROUNDS = 3


def compare(name: str, ours: Callable[[], object], peer: Callable[[], object], rounds: int = ROUNDS) -> None:
    """One line: how often our time goes into the peer's; above 1 we are faster."""
    times: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(rounds):
        for who, run in (("ours", ours), ("peer", peer)):
            started = time.monotonic()
            run()
            times[who].append(time.monotonic() - started)
    ours_best, peer_best = min(times["ours"]), min(times["peer"])
    sys.stdout.write(f"{name:44} {peer_best / ours_best:5.2f} x   ({ours_best:.1f} s against {peer_best:.1f} s)\n")
    sys.stdout.flush()


def sizes(name: str, ours: Path, peer: Path) -> None:
    """One line: how large our file is, the peer's being 1."""
    ratio = ours.stat().st_size / peer.stat().st_size
    sys.stdout.write(f"{name:44} {ratio:5.2f} x the peer's size\n")


def fresh(path: Path) -> Path:
    """An empty directory in place of whatever was there."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def bench_archive(version: Path) -> None:
    """Packing and unpacking against GNU tar with zstd on as many threads."""
    tree, packed, peer = scratch() / "tree", scratch() / "ours.tar.zst", scratch() / "peer.tar.zst"
    index = read_index(version / INDEX)
    unpack(version / ROOTFS, version / INDEX, fresh(tree))
    epoch = max(record.mtime for record in index.files)
    tar = ["tar", "--xattrs", "--xattrs-include=*", "--numeric-owner"]
    compare(
        "pack (index and digests) / tar + zstd -3 -T2",
        lambda: write_archive(scan_tree(tree, epoch), packed),
        lambda: subprocess.run([*tar, "-C", tree, "-I", "zstd -3 -T2", "-cf", peer, "."], check=True),
    )
    sizes("rootfs.tar.zst / tar + zstd -3", packed, peer)
    compare(
        "unpack (every digest checked) / tar + zstd",
        lambda: unpack(version / ROOTFS, version / INDEX, fresh(tree)),
        lambda: subprocess.run([*tar, "--zstd", "-xpf", peer, "-C", fresh(tree)], check=True),
    )


def main() -> None:
    """Every comparison."""
    version = build_image("debian-nfs")
    bench_archive(version)
    bench_deploy(version)
    bench_phases(version)
    bench_build()


if __name__ == "__main__":
    main()
