"""NFS servers for the lab behind one small contract: nfs-ganesha in user space, or the kernel's nfsd."""

from __future__ import annotations

import abc
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from builder.bootlab.namespace import Namespace, Service
from builder.bootlab.ready import await_ready
from builder.bootlab.settings import (
    GANESHA_CORE,
    GANESHA_OPTIONS,
    GANESHA_USER,
    MOUNTD_USER,
    NFSD_GRACE_SECONDS,
    NFSD_THREADS,
    RPCBIND_STARTER,
)
from builder.errors import CommandError, HostError
from builder.model.ganesha import answers_with_nothing, asks_with_read_plus, exports_tmpfs
from builder.model.recipe import NfsVersion
from builder.model.share import ServedStore
from builder.model.site import Site
from builder.render.server.files import Format, ServerFile, server_files, store_exports
from builder.render.server.services import GANESHA_FILE, Export, ganesha_config
from builder.system.handles import has_file_handles
from builder.system.host import host_family
from builder.system.privileges.permissions import Permission
from builder.system.run import CLEAN_ENVIRONMENT, Tool, run_filter

_RPCBIND = Tool("rpcbind", "rpcbind", "rpcbind")


class NfsServer(abc.ABC):
    """Serves a site's store over NFSv3 and v4 inside a lab.

    name: what people call it
    path: what clients call the store; None: its own path
    private: what is in the lab beside its configuration, by path
    """

    name: ClassVar[str]
    tools: ClassVar[tuple[Tool, ...]]
    path: ClassVar[str | None] = None
    permissions: ClassVar[tuple[Permission, ...]] = ()
    private: ClassVar[Mapping[str, str]] = MappingProxyType({})

    @staticmethod
    @abc.abstractmethod
    def runs_here() -> bool:
        """Whether this host has what it needs."""

    @staticmethod
    @abc.abstractmethod
    def files(site: Site, store: ServedStore) -> tuple[ServerFile, ...]:
        """Its configuration: the texts of `server-config`, with what settings.py adds."""

    def exports_tmpfs(self) -> bool:
        """Whether it can serve what lies in memory."""
        return True

    def lab_files(self, site: Site, store: ServedStore) -> dict[str, str]:
        """The texts that it finds in the lab, by their path there."""
        return {**self.private, **{str(file.path): file.text for file in self.files(site, store)}}

    @abc.abstractmethod
    def start(self, namespace: Namespace, site: Site, store: ServedStore) -> Service:
        """Serves the store, where a view has its files; CommandError where a directory of it cannot be exported."""

    def usable_version(self, namespace: Namespace, wanted: str, kernel: str) -> str:
        """The NFS version for a client of this Linux release that wants `wanted`."""
        return wanted


class Ganesha(NfsServer):
    """nfs-ganesha, ganesha(8): no kernel support needed, nothing outlives the lab."""

    name = "nfs-ganesha"
    tools = (Tool("ganesha.nfsd", "nfs-ganesha nfs-ganesha-vfs", None), _RPCBIND)
    permissions = (Permission.HANDLES,)
    path = "/disklessroot"

    @staticmethod
    def runs_here() -> bool:
        """Whether it is installed."""
        return all(tool.find() for tool in Ganesha.tools)

    @staticmethod
    def files(site: Site, store: ServedStore) -> tuple[ServerFile, ...]:
        """ganesha.conf with GANESHA_CORE."""
        return (
            ServerFile(Format.GANESHA, GANESHA_FILE, ganesha_config(store_exports(site, store), store, GANESHA_CORE)),
        )

    def start(self, namespace: Namespace, site: Site, store: ServedStore) -> Service:
        """Starts it and reads in its log whether every export came up: it listens even when none did."""
        _start_rpcbind(namespace)
        command = ["ganesha.nfsd", "-f", GANESHA_FILE, *GANESHA_OPTIONS]
        service = namespace.start("nfs", command, identity=GANESHA_USER)
        await_ready(namespace, service, lambda: "NFS SERVER INITIALIZED" in _read(service.log))
        faults = ganesha_export_faults(_read(service.log), store_exports(site, store))
        if faults:
            raise CommandError("nfs-ganesha cannot export the image", "its own lines are above", faults)
        return service

    def exports_tmpfs(self) -> bool:
        """Some releases pass over it."""
        status, said, _ = run_filter([self.tools[0].name, "-v"], b"", CLEAN_ENVIRONMENT)
        return status == 0 and exports_tmpfs(said.decode(errors="replace"))

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

    name = "the kernel's NFS server"
    # no host's exports, no host's settings; exportfs wants a file of its own beside the directory
    private = MappingProxyType(
        {"/etc/exports": "", "/etc/nfs.conf": "", "/var/lib/nfs/etab": "", "/var/lib/nfs/rmtab": ""}
    )
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

    @staticmethod
    def files(site: Site, store: ServedStore) -> tuple[ServerFile, ...]:
        """The exports, and nfs.conf for mountd's port."""
        return server_files(Format.EXPORTS, site, store)

    def start(self, namespace: Namespace, site: Site, store: ServedStore) -> Service:
        """Exports the store and nothing that the host's own files name."""
        _start_rpcbind(namespace)
        namespace.check(["mount", "-t", "nfsd", "nfsd", "/proc/fs/nfsd"], hint=_NO_NFSD)
        namespace.check(["mkdir", "-p", "/var/lib/nfs/v4recovery"])
        namespace.check(["exportfs", "-ra"], hint="exportfs says why above")
        # rpc.nfsd's own option would change the host's lockd too
        namespace.check(["sh", "-c", f"echo {NFSD_GRACE_SECONDS} > /proc/fs/nfsd/nfsv4gracetime"])
        namespace.check(["rpc.nfsd", str(NFSD_THREADS)])
        service = namespace.start("nfs", ["rpc.mountd", "--foreground"], identity=MOUNTD_USER)
        await_ready(namespace, service, lambda: "mountd" in namespace.run(["rpcinfo"]).output)
        return service


_NO_NFSD = (
    "modprobe nfsd says why; after an upgrade of the kernel reboot first. "
    "Where the kernel has no NFS server install nfs-ganesha"
)
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


def _start_rpcbind(namespace: Namespace) -> None:
    service = namespace.start("rpcbind", ["rpcbind", "-f"], identity=RPCBIND_STARTER)
    await_ready(namespace, service, lambda: namespace.run(["test", "-S", "/run/rpcbind.sock"]).status == 0)


def _read(path: Path) -> str:
    return path.read_text("utf-8", "backslashreplace")
