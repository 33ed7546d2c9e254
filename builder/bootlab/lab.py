"""The lab: a server and its guests on a network that exists only here, and only as long as this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from builder.bootlab import accelerator, dhcp, network
from builder.bootlab.console import Log
from builder.bootlab.guest import Guest, Machine, qemu_command
from builder.bootlab.namespace import Completed, Namespace, Service
from builder.bootlab.nfs import NfsServer, check_exportable, choose_nfs_server
from builder.bootlab.settings import LabSettings
from builder.bootlab.timeline import Logs
from builder.render.server.services import Export
from builder.system.run import Tool, require_tools


@dataclass(frozen=True)
class Served:
    """What a lab's server offers: a TFTP root, NFS exports and the root-path of DHCP option 17, SERVER:/path."""

    tftp_root: Path
    exports: tuple[Export, ...]
    root_path: str | None = None


def lab_tools(nfs: NfsServer) -> tuple[Tool, ...]:
    """The programs that a lab with this NFS server runs."""
    return (*accelerator.TOOLS, *network.TOOLS, *dhcp.TOOLS, *nfs.tools)


class Lab:
    """A server for diskless clients in namespaces of its own; `with` opens it and leaves nothing behind.

    directory: for the servers' configuration, state and logs
    """

    def __init__(self, directory: Path, settings: LabSettings | None = None, nfs: NfsServer | None = None) -> None:
        self.settings = settings or LabSettings()
        self.nfs = nfs or choose_nfs_server()
        self.namespace = Namespace(directory)
        self._directory = directory
        self._accelerator: tuple[str, ...] | None = None
        self._guests: list[Guest] = []
        self._exports: tuple[Export, ...] = ()

    def __enter__(self) -> Lab:
        require_tools(lab_tools(self.nfs))
        self.namespace.__enter__()
        try:
            network.set_up_network(self.namespace, self.settings.network)
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

    def serve(self, served: Served) -> None:
        """Starts every server; CommandError with the last lines of the one that does not come up.

        HostError where the exports lie on a file system that no NFS server can serve.
        """
        settings = self.settings
        service = dhcp.dhcp_service(settings.network, served.tftp_root, http=settings.http, root_path=served.root_path)
        self._exports = served.exports
        check_exportable(served.exports)
        self.nfs.start(self.namespace, served.exports)
        if settings.http:
            dhcp.start_web_server(self.namespace, settings.network, served.tftp_root)
        dhcp.start_dnsmasq(self.namespace, service)

    def power_on(self, console: Path, kernel: Path, machine: Machine | None = None) -> Guest:
        """A guest that starts to boot now; what it says is written to `console` as it comes.

        `kernel` only tries out whether KVM works; the guest gets its own over the network.
        """
        if self._accelerator is None:
            self._accelerator = accelerator.accelerator_arguments(kernel)
        name = f"tap{len(self._guests)}"
        network.add_tap(self.namespace, self.settings.network, name)
        shell = self._directory / f"{name}.shell"
        console.write_bytes(b"")
        command = qemu_command(machine or Machine(), self._accelerator, name, console, shell)

        def start() -> Service:
            return self.namespace.start(f"qemu-{name}", command)

        guest = Guest(self.namespace, start, console, shell, self.settings.patience, self.logs, self.check_servers)
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
        roots = [(Path(self.nfs.client_path(export)), Path(export.directory)) for export in self._exports]
        return any(
            Path(path).is_relative_to(root) and (directory / Path(path).relative_to(root)).is_dir()
            for root, directory in roots
        )
