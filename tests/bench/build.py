"""A whole build against mmdebstrap: the same packages, both from a warm cache, both to a compressed archive.

Both ask the mirror for its index first, as every build does, and find every package in our cache.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.model.manifest import ROOTFS
from tests.images import DISKLESS, run_diskless, scratch, write_recipe

ROUNDS = 2
CACHE = Path("/var/cache/diskless")
PACKAGES = (
    "systemd-sysv", "linux-image-amd64", "initramfs-tools", "nfs-common", "openssh-server", "iproute2", "dhcpcd-base",
)  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """Seconds on the clock, seconds of all processors (user and system, children too), MiB of the largest process."""

    wall: float
    cpu: float
    peak: float


def measure(argv: list[str], log: Path) -> Cost:
    """What a command costs; RuntimeError where it fails, with the end of what it said."""
    started = time.monotonic()
    with log.open("wb") as output:
        actions = [(os.POSIX_SPAWN_DUP2, output.fileno(), 1), (os.POSIX_SPAWN_DUP2, output.fileno(), 2)]
        pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=actions)
        _, status, usage = os.wait4(pid, 0)
    wall = time.monotonic() - started
    if status != 0:
        raise RuntimeError(f"{argv[0]}: {log.read_text(encoding='utf-8', errors='replace')[-2000:]}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def best(costs: list[Cost]) -> Cost:
    """The least of each: what disturbs a run only ever adds."""
    return Cost(min(c.wall for c in costs), min(c.cpu for c in costs), min(c.peak for c in costs))


def write_bench_recipe(directory: Path, **changes: Any) -> Path:
    """The package set of the comparison, with an image's usual initramfs."""
    return write_recipe(
        directory, packages=list(PACKAGES), network={"client": "none", "resolver": "kernel"}, system={}, **changes
    )


def bench_build() -> None:
    """Prints wall, processor time and memory of both, the ratios, and where our time went."""
    directory = scratch() / "bench"
    directory.mkdir(parents=True)
    recipe, output = write_bench_recipe(directory), scratch() / "bench-output"
    ours = [DISKLESS, "build", str(recipe), "--output", str(output), "--cache", str(CACHE), "--json"]
    first = run_diskless(*ours[1:])
    if first.returncode != 0:
        raise RuntimeError(first.stderr)
    version = Path(json.loads(first.stdout)["directory"])
    target = scratch() / "peer-root.tar.zst"
    archives, into = CACHE / "packages/apt/archives", "$1/var/cache/apt/archives"
    # a mount namespace of its own: whatever it mounts ends with it
    peer = ["unshare", "--mount", "--propagation", "private", "--"]
    peer += ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
    peer += ["--skip=essential/unlink", f"--setup-hook=mkdir -p {into} && cp -n {archives}/*.deb {into}/"]
    peer += [f"--customize-hook=rm -rf {into}/*.deb", "bookworm", str(target)]
    costs: dict[str, list[Cost]] = {"ours": [], "peer": []}
    seconds: dict[str, float] = {}
    for _ in range(ROUNDS):
        shutil.rmtree(version.parent)
        log = scratch() / "ours.log"
        costs["ours"].append(measure(ours, log))
        text = log.read_text("utf-8")
        seconds = json.loads(text[text.index("\n{") :].partition("\n}")[0] + "\n}")["seconds"]
        target.unlink(missing_ok=True)
        costs["peer"].append(measure(peer, scratch() / "peer.log"))
    report(best(costs["ours"]), best(costs["peer"]), seconds)
    ratio = (version / ROOTFS).stat().st_size / target.stat().st_size
    sys.stdout.write(f"  archive: {ratio:.2f} of the peer's size\n")


def report(ours: Cost, peer: Cost, seconds: dict[str, float]) -> None:
    """A small table: ours, the peer's, and ours as a part of it."""
    sys.stdout.write("build of a diskless root / mmdebstrap to .tar.zst   ours    peer   ratio\n")
    for name, unit in (("wall", "s"), ("cpu", "s"), ("peak", "MiB")):
        one, other = getattr(ours, name), getattr(peer, name)
        sys.stdout.write(f"  {name + ', ' + unit:48}{one:7.1f} {other:7.1f} {one / other:7.2f}\n")
    phases = ", ".join(f"{name} {value:.1f}" for name, value in seconds.items())
    sys.stdout.write(f"  ours by phase, s: {phases}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        bench_build()
    finally:
        shutil.rmtree(scratch(), ignore_errors=True)
