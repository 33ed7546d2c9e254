"""An upgrade under a running client: what it booted stays, what it boots next is the new version whole, and back.

Once with each boot loader.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from builder.bootlab.lab import Lab, lab_site
from builder.bootlab.machine.firmware import Firmware
from builder.bootlab.machine.guest import Guest, Machine
from builder.bootlab.nfs import choose_nfs_server
from builder.bootlab.settings import Patience
from builder.model.artifacts.manifest import Manifest
from builder.model.recipe import LoaderName
from builder.model.version import Version
from builder.output.versions import read_manifest
from builder.store.layout import Store, find_store
from builder.system.private_mounts import private_mounts
from tests.images import ROOT, authorized_key, build_image, run_diskless
from tests.require import needs_boot, needs_ovmf
from tests.scratch import scratch

pytestmark = [*needs_boot, needs_ovmf, pytest.mark.full]
IMAGE = "upgraded"
# the cloud kernel drives virtual hardware only
MACHINE = Machine(nic="virtio-net-pci")
MACHINES = {
    LoaderName.PXELINUX: MACHINE,
    LoaderName.GRUB: Machine(firmware=Firmware.UEFI_SECURE),
    LoaderName.IPXE: Machine(firmware=Firmware.UEFI),
}
# what the client booted, below what it has written since; not all of it, for an emulated client reads slowly
LOWER = "/run/overlay/lower"
PARTS = " ".join(f"{LOWER}/{part}" for part in ("etc", "usr/bin", "usr/lib/systemd"))
READ_ALL = f"find {PARTS} -type f -print0 | sort -z | xargs -0 md5sum | md5sum"
KEEP_READING = f"nohup sh -c 'while {READ_ALL}; do echo 3 > /proc/sys/vm/drop_caches; done' > /run/read.log 2>&1 &"


@functools.cache
def versions() -> tuple[Path, Path, Path]:
    """Three versions of one image: the last has another kernel."""
    base = "debian-nfs-overlay"
    motd = [{"path": "/etc/motd", "text": f"version {number}\n"} for number in range(3)]
    packages = [*_packages(base)]
    cloud = ["linux-image-cloud-amd64" if name == "linux-image-amd64" else name for name in packages]
    return (
        build_image(IMAGE, base, files=[authorized_key(), motd[0]]),
        build_image(IMAGE, base, files=[authorized_key(), motd[1]]),
        build_image(IMAGE, base, files=[authorized_key(), motd[2]], packages=cloud),
    )


def _packages(base: str) -> list[str]:
    recipe = yaml.safe_load((ROOT / "recipes" / f"{base}.yml").read_text(encoding="utf-8"))
    return list(recipe["packages"])


@dataclass(frozen=True)
class Server:
    """A store that the lab serves, changed by the command line as an administrator would."""

    lab: Lab
    store: Store
    loader: LoaderName

    def deploy(self, version: Path, *options: str) -> dict[str, object]:
        result = run_diskless("deploy", version, "--to", self.store.root, "--json", "-q", *options)
        assert result.returncode == 0, result.stderr
        described: dict[str, object] = json.loads(result.stdout)
        return described

    def run(self, command: str, *options: str) -> str:
        result = run_diskless(command, "--to", self.store.root, *options)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def versions(self) -> list[Version]:
        return self.store.version_names(IMAGE)


@contextlib.contextmanager
def serving(first: Path, loader: LoaderName) -> Iterator[Server]:
    """The lab's server with one version deployed, and one boot loader for its clients."""
    root = scratch() / f"upgrade-store-{loader}"
    logs = scratch() / f"upgrade-lab-{loader}"
    root.mkdir()
    logs.mkdir()
    site = dataclasses.replace(lab_site(choose_nfs_server()), loaders=(loader,))
    words = ", ".join(f'"{word}"' for word in site.cmdline)
    (root / "site.yml").write_text(
        f"server: {site.server}\nsubnet: {site.subnet}\npath: {site.path}\ncmdline: [{words}]\n", encoding="ascii"
    )
    with private_mounts():
        for command in (("storage", "--ro", "4G"), ("deploy", first)):
            result = run_diskless(*command, "--to", root)
            assert result.returncode == 0, result.stderr
        store = find_store(root)
        patience = Patience(login=600, check=400, power_off=400)
        with Lab(logs, store.served(rw=False), site=site, patience=patience) as lab:
            lab.serve()
            yield Server(lab, store, loader)


@contextlib.contextmanager
def booted(server: Server, name: str) -> Iterator[Guest]:
    """A client at its login prompt, switched off in order at the end."""
    kernel = server.store.boot_files(IMAGE, server.store.boot_names(IMAGE)[0]) / "vmlinuz"
    console = scratch() / f"upgrade-{server.loader}-{name}.console.log"
    guest = server.lab.power_on(console, kernel, MACHINES[server.loader])
    guest.await_login()
    yield guest
    guest.power_off()


def inside(guest: Guest, command: str) -> str:
    done = guest.run(command)
    assert done.status == 0, f"{command}: {done.output}"
    return done.output.strip()


def check_is(guest: Guest, manifest: Manifest) -> None:
    """The client runs a version whole: root, kernel and modules agree."""
    assert f"/ro/{IMAGE}/{manifest.version}/root" in inside(guest, "cat /proc/cmdline")
    assert inside(guest, "uname -r") == manifest.kernel
    assert inside(guest, "ls /usr/lib/modules") == manifest.kernel
    inside(guest, "modprobe dummy && rmmod dummy")


@pytest.mark.parametrize("loader", MACHINES)
def test_an_upgrade_under_a_running_client(loader: LoaderName) -> None:
    paths = versions()
    zero, one, two = (read_manifest(path) for path in paths)
    assert one.kernel != two.kernel
    with serving(paths[0], loader) as server:
        deployed = server.deploy(paths[1])
        written = deployed["unpacked"]
        assert isinstance(written, dict)
        assert written["written"] < 20
        with booted(server, "one") as guest:
            check_is(guest, one)
            before = inside(guest, READ_ALL)
            inside(guest, KEEP_READING)
            server.deploy(paths[2])
            assert "removed" in server.run("prune", "--keep", "2", "--force")
            assert server.versions() == sorted([one.version, two.version])
            refused = server.run("prune", "--keep", "1")
            assert f"refused {IMAGE} {one.version}" in refused
            inside(guest, "echo 3 > /proc/sys/vm/drop_caches")
            assert inside(guest, READ_ALL) == before
            assert inside(guest, "cat /etc/motd") == "version 1"
            log = inside(guest, "cat /run/read.log; pkill -f 'while fin[d]'; pkill md5sum; sleep 1")
            assert "Stale" not in log
            assert "No such file" not in log
            assert {line for line in log.splitlines() if line} <= {before}
            check_is(guest, one)
        with booted(server, "two") as guest:
            check_is(guest, two)
            assert inside(guest, "cat /etc/motd") == "version 2"
        assert one.version in server.run("rollback")
        with booted(server, "back") as guest:
            check_is(guest, one)
        assert server.run("verify", "--deep").endswith("no fault found\n")
        assert zero.version not in server.run("status").split("history")[0]
