"""The lab: a server and its guests on a network that exists only here, and only as long as this process."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from builder.bootlab import dhcp, network
from builder.bootlab.console import Log, begin_log
from builder.bootlab.machine import accelerator
from builder.bootlab.machine.guest import Guest, Machine, qemu_command, taps_of
from builder.bootlab.namespace import Completed, Namespace, Service
from builder.bootlab.nfs import NfsServer, check_exportable, choose_nfs_server
from builder.bootlab.settings import LAB_SITE, QEMU_USER, Patience
from builder.bootlab.timeline import Logs
from builder.bootlab.walls import volumes
from builder.bootlab.walls.view import View
from builder.model.share import ServedStore
from builder.model.site import Site
from builder.render.server.files import store_exports
from builder.render.server.services import Export
from builder.system.private_mounts import detach, private_mounts
from builder.system.run import Tool, require_tools

_LOG_BYTES = 64 << 20  # of memory at most, for what a guest can make the servers say


def lab_tools(nfs: NfsServer) -> tuple[Tool, ...]:
    """The programs that a lab with this NFS server runs."""
    return (*accelerator.TOOLS, *network.TOOLS, *dhcp.TOOLS, *volumes.TOOLS, *nfs.tools)


def lab_site(nfs: NfsServer) -> Site:
    """The site of a lab with this NFS server."""
    return dataclasses.replace(LAB_SITE, path=nfs.path)


def lab_view(nfs: NfsServer, site: Site, store: ServedStore, shared: tuple[Path, ...] = ()) -> View:
    """What a lab's programs see where they serve a store."""
    exports = {Path(export.directory): export.writable for export in store_exports(site, store)}
    files = {**nfs.lab_files(site, store), **dhcp.lab_files(site, store)}
    return View({Path(store.path, "boot"): False, **exports}, files, shared)


class Lab:
    """A site in namespaces of its own: a server for diskless clients; `with` opens it and leaves nothing behind.

    directory: an empty one, for the servers' logs; they are in memory and gone at the end
    store: what is served, and all that a guest can reach; its directories are there before the lab is opened
    site: what a real server's site.yml would say; it names its interface, which the lab makes
    shared: what of the host the lab's programs see besides, as it is: for those that the caller runs there
    """

    def __init__(
        self,
        directory: Path,
        store: ServedStore | None = None,
        *,
        site: Site | None = None,
        patience: Patience | None = None,
        nfs: NfsServer | None = None,
        shared: tuple[Path, ...] = (),
    ) -> None:
        self.nfs = nfs or choose_nfs_server()
        self.site = site or lab_site(self.nfs)
        self.patience = patience or Patience()
        self.store = store
        view = View(shared=shared) if store is None else lab_view(self.nfs, self.site, store, shared)
        self.namespace = Namespace(directory, view)
        self._directory = directory
        self._stack = contextlib.ExitStack()
        self._hardware: tuple[str, ...] | None = None
        self._guests: list[Guest] = []
        self._exports: tuple[Export, ...] = ()

    def __enter__(self) -> Lab:
        require_tools(lab_tools(self.nfs))
        with contextlib.ExitStack() as stack:
            stack.enter_context(private_mounts())
            # a server that may open files by handle must have none of a file system of the host's open
            volumes.mount_memory(self._directory, _LOG_BYTES)
            stack.callback(detach, self._directory)
            stack.enter_context(self.namespace)
            network.set_up_network(self.namespace, self.site)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for guest in self._guests:
            guest.close()
        self._stack.close()

    def serve(self) -> None:
        """Starts every server that the site needs, in the order of `server-config --format services`.

        CommandError with the last lines of the one that does not come up, HostError where the store lies on a file
        system that no NFS server can serve.
        """
        if self.store is None:
            raise ValueError("this lab has no store")
        store = self.store
        self._exports = store_exports(self.site, store)
        check_exportable(self._exports)
        self.nfs.start(self.namespace, self.site, store)
        if self.site.http_port is not None:
            dhcp.start_web_server(self.namespace, self.site, store)
        dhcp.start_dnsmasq(self.namespace, self.site, store)

    def power_on(self, console: Path, kernel: Path, machine: Machine | None = None) -> Guest:
        """A guest that starts to boot now; what it says is written to `console` as it comes.

        `kernel` only tries out whether KVM works; the guest gets its own over the network.
        """
        if self._hardware is None:
            self._hardware = accelerator.hardware_arguments(self.namespace, kernel)
        name = f"tap{len(self._guests)}"
        hardware = machine or Machine()
        for tap in taps_of(hardware, name):
            network.add_tap(self.namespace, self.site, tap, QEMU_USER.uid)
        begin_log(console)
        command = qemu_command(hardware, self._hardware, name)

        def start(files: Sequence[int]) -> Service:
            return self.namespace.start(f"qemu-{name}", command, identity=QEMU_USER, files=files)

        guest = Guest(hardware, self.namespace, start, console, self.patience, self.logs, self.check_servers)
        self._guests.append(guest)
        return guest

    def run(self, argv: Sequence[str], *, timeout: float = 60) -> Completed:
        """Runs a program on the lab's server, beside its servers: an ssh client, nfs-ls, ip."""
        return self.namespace.run(argv, timeout=timeout)

    def check_servers(self) -> None:
        """CommandError with the last lines of a server that has ended although guests need it."""
        for service in self.namespace.ended():
            if not any(guest.is_on(service) for guest in self._guests):
                raise service.describe_end()

    def logs(self) -> Logs:
        """What the servers logged so far."""
        dnsmasq, http, nfs = (Log(self._directory / f"{name}.log").text for name in ("dnsmasq", "http", "nfs"))
        return Logs("", dnsmasq, http, nfs, self.serves)

    def serves(self, path: str) -> bool:
        """Whether clients find a directory at `path`."""
        roots = [(Path(export.path), Path(export.directory)) for export in self._exports]
        return any(
            Path(path).is_relative_to(root) and (directory / Path(path).relative_to(root)).is_dir()
            for root, directory in roots
        )
