"""DHCP, TFTP and HTTP of the lab: dnsmasq with the site's configuration, and a web server for the same files."""

from __future__ import annotations

import sys
from pathlib import Path

from builder.bootlab.namespace import Namespace, Service
from builder.bootlab.ready import await_ready
from builder.bootlab.settings import DNSMASQ_FILES, DNSMASQ_OPTIONS, FIRMWARE_OPTIONS
from builder.model.share import ServedStore
from builder.model.site import Site
from builder.render.server.files import Format, server_files
from builder.system.run import Tool

TOOLS = (Tool("dnsmasq", "dnsmasq-base", "dnsmasq"),)


def dnsmasq_options(site: Site, directory: Path) -> list[str]:
    """What dnsmasq is told beside the site's configuration; it keeps its state in `directory`."""
    options = (*DNSMASQ_OPTIONS, *DNSMASQ_FILES, *FIRMWARE_OPTIONS)
    return [option.format(directory=directory, interface=site.interface) for option in options]


def start_dnsmasq(namespace: Namespace, site: Site, store: ServedStore) -> Service:
    """Starts dnsmasq; CommandError with its last lines when it does not come up."""
    (file,) = server_files(Format.DNSMASQ, site, store)
    config = namespace.write("dnsmasq.conf", file.text)
    options = dnsmasq_options(site, namespace.directory)
    started = namespace.start("dnsmasq", ["dnsmasq", f"--conf-file={config}", *options])
    await_ready(namespace, started, lambda: "DHCP, sockets bound" in started.log.read_text("utf-8", "replace"))
    return started


def start_web_server(namespace: Namespace, site: Site, store: ServedStore) -> Service:
    """Serves the store's boot/ where the site has a web server; Python's, for no host needs nginx to boot an image."""
    arguments = ["--bind", site.server, "--directory", f"{store.path}/boot", str(site.http_port)]
    started = namespace.start("http", [sys.executable, "-I", "-u", "-m", "http.server", *arguments])
    await_ready(namespace, started, lambda: "Serving HTTP" in started.log.read_text("utf-8", "replace"))
    return started
