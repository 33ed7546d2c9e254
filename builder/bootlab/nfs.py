"""NFS servers for the lab behind one small contract: nfs-ganesha in user space, or the kernel's nfsd."""

from __future__ import annotations

import abc
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from builder.bootlab.namespace import Namespace, Service
from builder.bootlab.ready import await_ready
from builder.bootlab.settings import GANESHA_CORE, PRIVATE_DIRECTORIES
from builder.errors import CommandError, HostError
from builder.model.read_plus import answers_with_nothing, asks_with_read_plus
from builder.model.recipe import NfsVersion
from builder.render.server.services import Export, export_options, ganesha_config
from builder.system.handles import has_file_handles
from builder.system.host import host_family, require_mount_table
from builder.system.permissions import Permission
from builder.system.run import Tool

_RPCBIND = Tool("rpcbind", "rpcbind", "rpcbind")


class NfsServer(abc.ABC):
    """Serves directories over NFSv3 and v4 inside a lab; `log` is where it complains."""

    tools: ClassVar[tuple[Tool, ...]]
    permissions: ClassVar[tuple[Permission, ...]] = ()

    @staticmethod
    @abc.abstractmethod
    def runs_here() -> bool:
        """Whether this host has what it needs."""

    @abc.abstractmethod
    def start(self, namespace: Namespace, exported: Sequence[Export]) -> Service:
        """Serves the directories; CommandError with the log's last lines when one cannot be exported."""

    @abc.abstractmethod
    def client_path(self, export: Export) -> str:
        """What clients call the exported directory."""

    def usable_version(self, namespace: Namespace, wanted: str, kernel: str) -> str:
        """The NFS version for a client of this Linux release that wants `wanted`."""
        return wanted


class Ganesha(NfsServer):
    """nfs-ganesha, ganesha(8): no kernel support needed, nothing outlives the lab."""

    tools = (Tool("ganesha.nfsd", "nfs-ganesha nfs-ganesha-vfs", None), _RPCBIND)
    permissions = (Permission.HANDLES,)

    @staticmethod
    def runs_here() -> bool:
        """Whether it is installed."""
        return all(tool.find() for tool in Ganesha.tools)

    def start(self, namespace: Namespace, exported: Sequence[Export]) -> Service:
        """Starts it and reads in its log whether every export came up: it listens even when none did."""
        require_mount_table("nfs-ganesha")
        config = namespace.directory / "ganesha.conf"
        config.write_text(ganesha_config(exported, GANESHA_CORE), "utf-8")
        _start_rpcbind(namespace)
        namespace.check(["mkdir", "-p", "/run/ganesha", "/var/lib/nfs/ganesha"])
        arguments = ["-F", "-f", str(config), "-L", "STDOUT", "-p", "/run/ganesha.pid"]
        service = namespace.start("nfs", ["ganesha.nfsd", *arguments])
        await_ready(namespace, service, lambda: "NFS SERVER INITIALIZED" in _read(service.log))
        faults = ganesha_export_faults(_read(service.log), exported)
        if faults:
            raise CommandError("nfs-ganesha cannot export the image", "its own lines are above", faults)
        return service

    def client_path(self, export: Export) -> str:
        """Its pseudo path, for NFSv3 too."""
        return export.path

    def usable_version(self, namespace: Namespace, wanted: str, kernel: str) -> str:
        """4.1 for 4.2 where this release would serve every file as an empty one."""
        if wanted != NfsVersion.V4_2 or not asks_with_read_plus(kernel):
            return wanted
        return NfsVersion.V4_1 if answers_with_nothing(namespace.check(["ganesha.nfsd", "-v"])) else wanted


class KernelNfsd(NfsServer):
    """The kernel's nfsd in the lab's network namespace.

    Nothing outlives the lab, however it ends: its mount of nfsd(7) is the only one, and with that the threads go
    (Linux 5.12).
    """

    tools = (
        _RPCBIND,
        Tool("rpc.nfsd", "nfs-kernel-server", "nfs-utils"),
        Tool("rpc.mountd", "nfs-kernel-server", "nfs-utils"),
        Tool("exportfs", "nfs-kernel-server", "nfs-utils"),
    )

    @staticmethod
    def runs_here() -> bool:
        """Whether the kernel has nfsd and nfs-utils is installed."""
        known = "\tnfsd\n" in Path("/proc/filesystems").read_text("ascii")
        module = Path(f"/lib/modules/{os.uname().release}/kernel/fs/nfsd").is_dir()
        return (known or module) and all(tool.find() for tool in KernelNfsd.tools)

    def start(self, namespace: Namespace, exported: Sequence[Export]) -> Service:
        """Exports what is given and nothing that the host's own files name."""
        _start_rpcbind(namespace)
        namespace.check(["mount", "-t", "nfsd", "nfsd", "/proc/fs/nfsd"], hint=_NO_NFSD)
        for path in _HOST_CONFIGURATION:
            if Path(path).is_file():
                namespace.check(["mount", "--bind", "/dev/null", path])
            elif Path(path).is_dir():
                namespace.check(["mount", "-t", "tmpfs", "tmpfs", path])
        namespace.check(["mkdir", "-p", "/var/lib/nfs/v4recovery"])
        namespace.check(["touch", "/var/lib/nfs/etab", "/var/lib/nfs/rmtab"])
        for export in exported:
            options = ["-i", "-o", export_options(export), f"{export.clients}:{export.directory}"]
            namespace.check(["exportfs", *options], hint="exportfs says why above")
        # Nobody can have state to reclaim, but outside of the host's own network nfsd cannot know, and makes NFSv4
        # clients wait 90 s. 10 is the least; rpc.nfsd's own option would change the host's lockd too.
        namespace.check(["sh", "-c", "echo 10 > /proc/fs/nfsd/nfsv4gracetime"])
        namespace.check(["rpc.nfsd", "4"])
        service = namespace.start("nfs", ["rpc.mountd", "--foreground"])
        await_ready(namespace, service, lambda: "mountd" in namespace.run(["rpcinfo"]).output)
        return service

    def client_path(self, export: Export) -> str:
        """The real directory: the kernel knows no other name."""
        return export.directory


_NO_NFSD = (
    "modprobe nfsd says why; after an upgrade of the kernel reboot first. "
    "Where the kernel has no NFS server install nfs-ganesha"
)
_HOST_CONFIGURATION = ("/etc/nfs.conf", "/etc/nfs.conf.d")
# 26/11/2026 20:23:59 : epoch 6b08955f : lab : nfs-ganesha-12[main] function :COMPONENT :LEVEL :text
_SEVERE = re.compile(r" :(?:CRIT|MAJ|FATAL) :(.*)$")
SERVERS: tuple[type[NfsServer], ...] = (Ganesha, KernelNfsd)


def choose_nfs_server() -> NfsServer:
    """The first server that runs here; where none does, the one that this distribution has."""
    fallback = KernelNfsd if host_family() == "arch" else Ganesha
    return next((server for server in SERVERS if server.runs_here()), fallback)()


def check_exportable(exported: Sequence[Export]) -> None:
    """HostError for a directory that no NFS server can export: its file system has no file handles."""
    for export in exported:
        if not has_file_handles(Path(export.directory)):
            raise HostError(
                f"{export.directory} cannot be served over NFS: its file system has no file handles",
                "the image must be on ext4, XFS, btrfs or the like; an overlay, as a container's own root, has none",
            )


def ganesha_export_faults(log: str, exported: Sequence[Export]) -> tuple[str, ...]:
    """The severe lines of ganesha's log that name an export: it starts without one that does not come up."""
    names = {name for export in exported for name in (export.directory, f"({export.path})")}
    severe = ((line, found[1]) for line in log.splitlines() if (found := _SEVERE.search(line)))
    return tuple(line for line, text in severe if any(name in text for name in names))


def hide_host_state(namespace: Namespace) -> None:
    """Puts empty private directories where the NFS servers keep their state."""
    for directory in PRIVATE_DIRECTORIES:
        if Path(directory).is_dir():
            namespace.check(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", directory])


def _start_rpcbind(namespace: Namespace) -> None:
    hide_host_state(namespace)
    service = namespace.start("rpcbind", ["rpcbind", "-f"])
    await_ready(namespace, service, lambda: namespace.run(["test", "-S", "/run/rpcbind.sock"]).status == 0)


def _read(path: Path) -> str:
    return path.read_text("utf-8", "backslashreplace")
