"""The lab: a server and its guests on a network that exists only here, and only as long as this process."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from builder.bootlab import accelerator, dhcp, network
from builder.bootlab.console import Log, begin_log
from builder.bootlab.guest import Guest, Machine, qemu_command
from builder.bootlab.namespace import Completed, Namespace, Service
from builder.bootlab.nfs import NfsServer, check_exportable, choose_nfs_server
from builder.bootlab.settings import LAB_SITE, Patience
from builder.bootlab.timeline import Logs
from builder.model.site import Site
from builder.render.server.files import store_exports
from builder.render.server.services import Export
from builder.system.run import Tool, require_tools


def lab_tools(nfs: NfsServer) -> tuple[Tool, ...]:
    """The programs that a lab with this NFS server runs."""
    return (*accelerator.TOOLS, *network.TOOLS, *dhcp.TOOLS, *nfs.tools)


def lab_site(nfs: NfsServer) -> Site:
    """The site of a lab with this NFS server."""
    return dataclasses.replace(LAB_SITE, path=nfs.path)


class Lab:
    """A site in namespaces of its own: a server for diskless clients; `with` opens it and leaves nothing behind.

    directory: for the servers' configuration, state and logs
    site: what a real server's site.yml would say; it names its interface, which the lab makes
    """

    def __init__(
        self,
        directory: Path,
        site: Site | None = None,
        patience: Patience | None = None,
        nfs: NfsServer | None = None,
    ) -> None:
        self.nfs = nfs or choose_nfs_server()
        self.site = site or lab_site(self.nfs)
        self.patience = patience or Patience()
        self.namespace = Namespace(directory)
        self._directory = directory
        self._accelerator: tuple[str, ...] | None = None
        self._guests: list[Guest] = []
        self._exports: tuple[Export, ...] = ()

    def __enter__(self) -> Lab:
        require_tools(lab_tools(self.nfs))
        self.namespace.__enter__()
        try:
            network.set_up_network(self.namespace, self.site)
        except BaseException:
            self.namespace.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for guest in self._guests:
            guest.close()
        self.namespace.__exit__(kind, error, trace)

    def serve(self, store: Path) -> None:
        """Starts every server that the site needs, in the order of `server-config --format services`.

        CommandError with the last lines of the one that does not come up, HostError where the store lies on a file
        system that no NFS server can serve.
        """
        self._exports = store_exports(self.site, str(store))
        check_exportable(self._exports)
        self.nfs.start(self.namespace, self.site, str(store))
        if self.site.http_port is not None:
            dhcp.start_web_server(self.namespace, self.site, str(store))
        dhcp.start_dnsmasq(self.namespace, self.site, str(store))

    def power_on(self, console: Path, kernel: Path, machine: Machine | None = None) -> Guest:
        """A guest that starts to boot now; what it says is written to `console` as it comes.

        `kernel` only tries out whether KVM works; the guest gets its own over the network.
        """
        if self._accelerator is None:
            self._accelerator = accelerator.accelerator_arguments(kernel)
        name = f"tap{len(self._guests)}"
        network.add_tap(self.namespace, self.site, name)
        shell = self._directory / f"{name}.shell"
        begin_log(console)
        command = qemu_command(machine or Machine(), self._accelerator, name, console, shell)

        def start() -> Service:
            return self.namespace.start(f"qemu-{name}", command)

        guest = Guest(self.namespace, start, console, shell, self.patience, self.logs, self.check_servers)
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
