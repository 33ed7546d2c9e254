"""Small whole values of the model."""

from __future__ import annotations

from builder.model.artifacts.index import DIRECTORY, FILE, HARDLINK, SYMLINK, FileRecord, Frame, Index
from builder.model.artifacts.manifest import Artifact, Manifest, NfsRoot, Package
from builder.model.recipe import Architecture, DistributionName, GeneratorName, NfsVersion, RootMode
from builder.model.version import Version

MANIFEST = Manifest(
    image="lab",
    version=Version("20260102-0123abcd"),
    root_digest="0123abcd" * 8,
    epoch=1767312000,
    distribution=DistributionName.DEBIAN,
    release="bookworm",
    architecture=Architecture.X86_64,
    kernel="6.1.0-1-amd64",
    initramfs=GeneratorName.INITRAMFS_TOOLS,
    root=NfsRoot(RootMode.RW, NfsVersion.V3, ("rsize=16384", "wsize=16384")),
    cmdline=("ip=dhcp", "net.ifnames=0"),
    recipe_sha256="ab" * 32,
    packages=(Package("dhcpcd", "9.4.1-24", "all", "cd" * 32),),
    capabilities=("/usr/bin/ping",),
    entries=4,
    size=5,
    artifacts={name: Artifact(4096, "0" * 64) for name in ("boot.tar.zst", "index.json.zst", "rootfs.tar.zst")},
    tools={"diskless": "0.1.0"},
)
INDEX = Index(
    (Frame(0, 100, 4096, "01" * 32), Frame(100, 50, 1024, "23" * 32)),
    (
        FileRecord(".", DIRECTORY, 0o755, 0, 0, 1767312000, 0, "", "", {}, 0),
        FileRecord("größe", FILE, 0o4755, 1, 2, 1767312000, 5, "45" * 32, "", {"user.a": "00ff"}, 0),
        FileRecord("link", SYMLINK, 0o777, 0, 0, 1767312000, 0, "", "größe", {}, 1),
        FileRecord("name", HARDLINK, 0o4755, 1, 2, 1767312000, 0, "", "größe", {}, 1),
    ),
)
