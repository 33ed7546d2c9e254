"""DHCP, TFTP and HTTP of the lab: dnsmasq with the site's configuration, and a web server for the same files."""

from __future__ import annotations

from pathlib import Path

from builder.bootlab.namespace import Namespace, Service
from builder.bootlab.ready import await_ready
from builder.bootlab.settings import DNSMASQ_OPTIONS, DNSMASQ_USER, FIRMWARE_OPTIONS, WEB_STARTER, WEB_UID
from builder.bootlab.walls.view import interpreter_command
from builder.model.share import ServedStore
from builder.model.site import Site
from builder.render.server.files import Format, ServerFile, server_files
from builder.system.run import Tool

TOOLS = (Tool("dnsmasq", "dnsmasq-base", "dnsmasq"),)
WEB_SERVER = "/srv/web.py"  # in the lab
_WEB_SOURCE = Path(__file__).with_name("inside") / "web.py"


def dnsmasq_options(site: Site) -> list[str]:
    """What dnsmasq is told beside the site's configuration."""
    return [option.format(interface=site.interface) for option in (*DNSMASQ_OPTIONS, *FIRMWARE_OPTIONS)]


def dnsmasq_file(site: Site, store: ServedStore) -> ServerFile:
    """Its configuration: the text of `server-config`."""
    (file,) = server_files(Format.DNSMASQ, site, store)
    return file


def lab_files(site: Site, store: ServedStore) -> dict[str, str]:
    """The texts that both find in the lab, by their path there."""
    file = dnsmasq_file(site, store)
    return {str(file.path): file.text, WEB_SERVER: _WEB_SOURCE.read_text("utf-8")}


def start_dnsmasq(namespace: Namespace, site: Site, store: ServedStore) -> Service:
    """Starts dnsmasq; CommandError with its last lines when it does not come up."""
    command = ["dnsmasq", f"--conf-file={dnsmasq_file(site, store).path}", *dnsmasq_options(site)]
    started = namespace.start("dnsmasq", command, identity=DNSMASQ_USER)
    await_ready(namespace, started, lambda: "started, " in started.log.read_text("utf-8", "replace"))
    return started


def start_web_server(namespace: Namespace, site: Site, store: ServedStore) -> Service:
    """Serves the store's boot/ where the site has a web server; Python's, for no host needs nginx to boot an image."""
    arguments = [WEB_SERVER, str(WEB_UID), site.server, str(site.http_port), f"{store.path}/boot"]
    started = namespace.start("http", [*interpreter_command(), *arguments], identity=WEB_STARTER)
    await_ready(namespace, started, lambda: "Serving HTTP" in started.log.read_text("utf-8", "replace"))
    return started
