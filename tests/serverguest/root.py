"""The disk that a server guest boots from: a Debian with an NFS server, and this project as it is here."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from builder.archive.members import read_members
from builder.archive.unpack import unpack
from builder.model.artifacts.manifest import BUNDLE, INDEX, ROOTFS
from builder.model.menu import KERNEL
from builder.output.versions import read_manifest
from tests.images import ROOT, build_image
from tests.scratch import scratch
from tests.serverguest.disks import make_ext4
from tests.serverguest.initramfs import write_initramfs

ADDRESS = "10.77.0.2"
_HERE = Path(__file__).parent
_INIT = "/usr/local/sbin/server-guest-init"
_PYTHON = "usr/lib/python3/dist-packages"
_PACKAGES = (
    *("systemd-sysv", "linux-image-cloud-amd64", "initramfs-tools", "udev", "dbus", "kmod", "iproute2", "procps"),
    *("busybox-static", "python3", "libarchive13", "e2fsprogs", "xfsprogs"),
    *("nfs-common", "nfs-kernel-server", "rpcbind", "dnsmasq-base", "docker-registry", "openssh-client"),
)
_PROGRAMS = {"look-at-store": "look_at_store.py", "preload": "preload.py", "preloaded": "preloaded.sh"}
_DISKLESS = """#!/usr/bin/python3 -P
from builder.cli.main import main
main()
"""


@dataclass(frozen=True)
class ServerRoot:
    """What QEMU boots; the disk is never written to: a guest's changes are gone with it."""

    kernel: Path
    initramfs: Path
    disk: Path


@functools.cache
def server_root() -> ServerRoot:
    """Built once a test run."""
    version = _server_version()
    manifest = read_manifest(version)
    directory = scratch() / "server"
    root = directory / "root"
    root.mkdir(parents=True)
    unpack(version / ROOTFS, version / INDEX, root)
    made = ServerRoot(directory / "vmlinuz", directory / "initramfs", directory / "root.ext4")
    made.kernel.write_bytes(read_members(version / BUNDLE)[KERNEL])
    write_initramfs(made.initramfs, root, manifest.kernel, _INIT)
    _add_project(root)
    make_ext4(made.disk, root)
    shutil.rmtree(root)
    return made


def _server_version() -> Path:
    return build_image(
        "server",
        packages=list(_PACKAGES),
        system={"hostname": "server"},
        network={"client": "none", "nameservers": [ADDRESS]},
        initramfs={"generator": "initramfs-tools", "drivers": "list", "modules": ["virtio_net", "nfsv3", "nfs"]},
    )


def _add_project(root: Path) -> None:
    """Puts this checkout and what it depends on in, for the Python that is there."""
    packages = root / _PYTHON
    python = max(path.name for path in (root / "usr/lib").glob("python3.*")).removeprefix("python")
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    wheels = ["--only-binary", ":all:", "--python-version", python, "--target", str(packages)]
    subprocess.run([*pip, *wheels, *dependencies], check=True)
    shutil.copytree(ROOT / "builder", packages / "builder", ignore=shutil.ignore_patterns("__pycache__"))
    _program(root / _INIT.lstrip("/"), (_HERE / "init.sh").read_text("utf-8"))
    _program(root / "usr/local/sbin/diskless", _DISKLESS)
    for name, source in _PROGRAMS.items():
        _program(root / "usr/local/sbin" / name, (_HERE / source).read_text("utf-8"))
    # it would be compiled anew at every start: the disk forgets
    subprocess.run(
        ["chroot", root, "python3", "-m", "compileall", "-q", "/usr/lib/python3", f"/usr/lib/python{python}"],
        check=True,
    )


def _program(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
