"""A whole build against mmdebstrap: the same packages, both from a warm cache, both to a compressed archive.

All ask the mirror for its index first, as every build does, and find every package in our cache. Ours is measured
twice: the first build of a package set, which also keeps the installed tree, and one after an edit of the recipe.
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

from builder.model.artifacts.manifest import ROOTFS
from tests.images import DISKLESS, build_cache, own, run_diskless, write_recipe
from tests.scratch import scratch

ROUNDS = 2
CACHE = Path("/var/cache/diskless")
ARCHIVES = "packages/apt/archives"
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
    network = {"client": "none", "resolver": "kernel"}
    return write_recipe(directory, packages=list(PACKAGES), **{"network": network, "system": {}, **changes})


def bench_build() -> None:
    """Prints wall, processor time and memory of all three, the ratios, and where our time went."""
    directory, edited = scratch() / "bench", scratch() / "bench-edited"
    output, cache = scratch() / "bench-output", scratch() / "bench-cache"
    for path in (directory, edited):
        path.mkdir(parents=True)
    recipes = {
        "first": write_bench_recipe(directory),
        "edited": write_bench_recipe(edited, system={"hostname": "edited"}),
    }
    kept = build_cache(cache)
    shutil.copytree(build_cache(CACHE) / ARCHIVES, kept / ARCHIVES)
    own(kept / "packages")
    first = run_diskless(*_ours(recipes["first"], output, cache)[1:])
    if first.returncode != 0:
        raise RuntimeError(first.stderr)
    version = Path(json.loads(first.stdout)["directory"])
    target = scratch() / "peer-root.tar.zst"
    costs: dict[str, list[Cost]] = {"first": [], "edited": [], "peer": []}
    seconds: dict[str, dict[str, float]] = {}
    for _ in range(ROUNDS):
        shutil.rmtree(kept / "trees")
        for name, recipe in recipes.items():
            shutil.rmtree(version.parent, ignore_errors=True)
            log = scratch() / "ours.log"
            costs[name].append(measure(_ours(recipe, output, cache), log))
            text = log.read_text("utf-8")
            seconds[name] = json.loads(text[text.index("\n{") :].partition("\n}")[0] + "\n}")["seconds"]
        target.unlink(missing_ok=True)
        costs["peer"].append(measure(_peer(target, kept / ARCHIVES), scratch() / "peer.log"))
    for name in recipes:
        report(name, best(costs[name]), best(costs["peer"]), seconds[name])
    (latest,) = (path for path in version.parent.iterdir() if path.is_dir() and not path.is_symlink())
    ratio = (latest / ROOTFS).stat().st_size / target.stat().st_size
    sys.stdout.write(f"  archive: {ratio:.2f} of the peer's size\n")


def _ours(recipe: Path, output: Path, cache: Path) -> list[str]:
    return [DISKLESS, "build", str(recipe), "--output", str(output), "--cache", str(cache), "--json"]


def _peer(target: Path, archives: Path) -> list[str]:
    """In a mount namespace of its own: whatever it mounts ends with it."""
    into = "$1/var/cache/apt/archives"
    peer = ["unshare", "--mount", "--propagation", "private", "--"]
    peer += ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
    peer += ["--skip=essential/unlink", f"--setup-hook=mkdir -p {into} && cp -n {archives}/*.deb {into}/"]
    return [*peer, f"--customize-hook=rm -rf {into}/*.deb", "bookworm", str(target)]


def report(which: str, ours: Cost, peer: Cost, seconds: dict[str, float]) -> None:
    """A small table: ours, the peer's, and ours as a part of it."""
    sys.stdout.write(f"{which + ' build / mmdebstrap to .tar.zst':51} ours    peer   ratio\n")
    for name, unit in (("wall", "s"), ("cpu", "s"), ("peak", "MiB")):
        one, other = getattr(ours, name), getattr(peer, name)
        sys.stdout.write(f"  {name + ', ' + unit:48}{one:7.1f} {other:7.1f} {one / other:7.2f}\n")
    phases = ", ".join(f"{name} {value:.1f}" for name, value in seconds.items())
    sys.stdout.write(f"  ours by phase, s: {phases}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    bench_build()
