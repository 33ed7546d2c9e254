"""The power of a server is cut while it deploys, on a disk and a file system of its own: clients boot old or new."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from builder.bootlab.machine.accelerator import accelerator_arguments
from builder.bootlab.namespace import Namespace
from tests.require import needs_server_guest
from tests.scratch import scratch
from tests.serverguest.disks import Drive, ForgetfulDisk, make_empty, make_ext4
from tests.serverguest.guest import PowerCutError, ServerGuest
from tests.serverguest.root import server_root
from tests.versions import make_version, some_bytes

pytestmark = [*needs_server_guest, pytest.mark.full]

CUTS = 20
STORE = "/mnt/store"
# what is left has room for indexes and boot files, as long as old versions are pruned
MAKE_SHARES = f"""set -e
diskless storage --to {STORE} --ro 192M --rw 192M
fallocate -l $(($(df --output=avail -B1 {STORE} | tail -n 1) - (96 << 20))) {STORE}/filesystems/filler
"""
# as the units do it
MOUNT_SHARES = f"for share in ro rw; do mount -o loop {STORE}/filesystems/$share.img {STORE}/$share; done"
VERSIONS = "/mnt/versions"
# one image of each kind: roots that share files by hard links, and a root that is written in full beside its version
IMAGES = {"lab": "overlay", "desk": "rw"}


@dataclass
class Site:
    """A server's disks, in a directory; `may_be_active`: what clients may find, by image."""

    directory: Path
    filesystem: str
    versions: dict[str, tuple[str, str]]
    shares: bool = False
    may_be_active: dict[str, set[str]] = field(default_factory=dict)
    boots: Iterator[int] = field(default_factory=itertools.count)

    @property
    def store(self) -> Path:
        return self.directory / "store.raw"

    def other(self, image: str, version: str) -> str:
        return next(name for name in self.versions[image] if name != version)


@pytest.fixture(params=["ext4", "xfs", "shares"])
def site(request: pytest.FixtureRequest) -> Site:
    """shares: the roots lie on file systems in files, on a disk that has room for little else."""
    directory = scratch() / f"power-{request.param}"
    versions = {image: two_versions(directory / "output", image, mode) for image, mode in IMAGES.items()}
    shares = request.param == "shares"
    site = Site(directory, "ext4" if shares else request.param, versions, shares)
    make_ext4(directory / "versions.ext4", directory / "output")
    make_empty(site.store, 1 << 30)
    return site


def two_versions(output: Path, image: str, mode: str) -> tuple[str, str]:
    """Versions that have most of their bytes to themselves: what is linked was synced long ago."""
    paths = [f"usr/share/data/{number}" for number in range(40)]
    names = []
    for salt in "ab":
        changes = {path: some_bytes(f"{image}{salt}{path}", 30000) for path in paths}
        names.append(make_version(output, changes, image=image, mode=mode, kernel=salt.encode(), files=60).name)
    return names[0], names[1]


@contextlib.contextmanager
def server(site: Site, store: Drive, *, make: bool = False) -> Iterator[ServerGuest]:
    """A server guest with its store mounted."""
    logs = site.directory / f"boot-{next(site.boots)}"
    logs.mkdir()
    root = server_root()
    drives = [store, Drive(site.directory / "versions.ext4", read_only=True)]
    with Namespace(logs) as namespace:
        guest = ServerGuest(namespace, "server", root, drives, accelerator_arguments(root.kernel))
        if make:
            guest.check(f"mkfs.{site.filesystem} -q /dev/vdb")
        guest.check(
            f"mkdir {STORE} {VERSIONS}; modprobe -a loop {site.filesystem}; "
            f"mount -t {site.filesystem} /dev/vdb {STORE} && "
            f"mount -o ro /dev/vdc {VERSIONS}; (preload </dev/null >/run/preload.log 2>&1 &); "
            "until [ -p /run/preload/status ]; do sleep 0.1; done"
        )
        if site.shares:
            guest.check(MAKE_SHARES if make else MOUNT_SHARES)
        yield guest


def deploy_command(image: str, version: str) -> str:
    return f"preloaded diskless deploy {VERSIONS}/{image}/{version} --to {STORE} --server 192.168.1.1"


def look(guest: ServerGuest) -> Any:
    return json.loads(guest.check(f"preloaded look-at-store {STORE} {VERSIONS}"))


def test_a_power_cut_leaves_the_old_version_or_the_new_one_whole(site: Site) -> None:
    with server(site, Drive(site.store), make=True) as guest:
        for image, (first, _) in site.versions.items():
            guest.check(deploy_command(image, first))
            site.may_be_active[image] = {first}
        guest.cut_power()
    dice = random.Random(f"power {site.filesystem}")
    for number in range(CUTS):
        image = list(IMAGES)[number % 2]
        with disk(site, forgetful=number // 2 % 2 == 1) as drive, server(site, drive) as guest:
            check_what_is_there(site, guest)
            seconds = check_next_deploy(site, guest, image)
            deploy_until_power_cut(site, guest, image, dice.uniform(0, 1.3 * seconds))


@contextlib.contextmanager
def disk(site: Site, *, forgetful: bool) -> Iterator[Drive]:
    """The store's disk for one boot.

    Either it keeps all that it was sent, so that only the guest's page cache is lost; or it has a cache of its own,
    and loses that too: then also what the kernel wrote by itself is gone, unless it was flushed.
    """
    if not forgetful:
        yield Drive(site.store)
        return
    made = ForgetfulDisk(site.store)
    yield made.drive()
    made.settle()


def check_what_is_there(site: Site, guest: ServerGuest) -> None:
    """Right after the power came back: nothing has recovered anything yet."""
    seen = look(guest)
    assert seen["faults"] == []
    for image, versions in site.may_be_active.items():
        assert seen["active"][image] in versions
        site.may_be_active[image] = {seen["active"][image]}


def check_next_deploy(site: Site, guest: ServerGuest, image: str) -> float:
    """Deploys what is not active and prunes what was; seconds that the deploy took."""
    (active,) = site.may_be_active[image]
    version = site.other(image, active)
    started = time.monotonic()
    guest.check(deploy_command(image, version))
    seconds = time.monotonic() - started
    seen = look(guest)
    assert seen["faults"] == []
    assert seen["left"] == []
    assert seen["active"][image] == version
    guest.check(f"preloaded diskless prune --to {STORE} --keep 1 --force")
    site.may_be_active[image] = {version}
    return seconds


def deploy_until_power_cut(site: Site, guest: ServerGuest, image: str, seconds: float) -> None:
    """Deploys, and cuts the power `seconds` after it began: what was said to be done by then must be there."""
    (active,) = site.may_be_active[image]
    version = site.other(image, active)
    site.may_be_active[image] = {active, version}
    started = time.monotonic()
    with contextlib.suppress(PowerCutError):
        done = guest.run(deploy_command(image, version), power_cut_after=seconds)
        assert done.status == 0, done.output
        site.may_be_active[image] = {version}
        guest.run("sleep 600", seconds=600, power_cut_after=max(0, seconds - (time.monotonic() - started)))
