"""DHCP, TFTP and HTTP of the lab: dnsmasq with the rendered configuration, and a web server for the same files."""

from __future__ import annotations

import sys
from pathlib import Path

from builder.bootlab.namespace import Namespace, Service
from builder.bootlab.ready import await_ready
from builder.bootlab.settings import DNSMASQ_OPTIONS, FIRMWARE_OPTIONS, LabNetwork
from builder.render.server.services import DhcpService, dnsmasq_config
from builder.system.run import Tool

TOOLS = (Tool("dnsmasq", "dnsmasq-base", "dnsmasq"),)


def dhcp_service(network: LabNetwork, tftp_root: Path, *, http: bool, root_path: str | None) -> DhcpService:
    """What the lab's server offers on its bridge."""
    return DhcpService(
        interface=network.interface,
        address=network.server,
        netmask=network.netmask,
        first=network.first,
        last=network.last,
        clients=network.clients,
        nameservers=(network.server,),
        tftp_root=str(tftp_root),
        root_path=root_path,
        http=f"http://{network.server}/" if http else None,
    )


def start_dnsmasq(namespace: Namespace, service: DhcpService) -> Service:
    """Starts dnsmasq; CommandError with its last lines when it does not come up."""
    directory = namespace.directory
    config = directory / "dnsmasq.conf"
    config.write_text(dnsmasq_config(service), "utf-8")
    started = namespace.start(
        "dnsmasq",
        [
            "dnsmasq",
            *DNSMASQ_OPTIONS,
            *(option.format(interface=service.interface) for option in FIRMWARE_OPTIONS),
            f"--conf-file={config}",
            f"--dhcp-leasefile={directory / 'dnsmasq.leases'}",
            f"--pid-file={directory / 'dnsmasq.pid'}",
        ],
    )
    await_ready(namespace, started, lambda: "DHCP, sockets bound" in started.log.read_text("utf-8", "replace"))
    return started


def start_web_server(namespace: Namespace, network: LabNetwork, root: Path) -> Service:
    """Serves `root` on port 80 of the lab's server."""
    arguments = ["--bind", network.server, "--directory", str(root), "80"]
    started = namespace.start("http", [sys.executable, "-I", "-u", "-m", "http.server", *arguments])
    await_ready(namespace, started, lambda: "Serving HTTP" in started.log.read_text("utf-8", "replace"))
    return started
