"""A server whose dnsmasq is a network's already, and a PC of that network, for tests of a store that comes as a guest.

dnsmasq is started as Debian's service starts it, by /etc/default/dnsmasq; the PC's network is on the card lan0, the
clients' on eth1.
"""

from __future__ import annotations

import contextlib
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builder.bootlab.namespace import Service
from builder.model.site import Site
from tests.integration.servers.server_network import ServerNetwork, open_network
from tests.scratch import scratch

PC, LAN, LAN_SERVER = "pc", "10.98.0.0/24", "10.98.0.1"
PC_CARD, BOOTED_CARD, CLIENT_CARD = "52:54:00:0a:00:01", "52:54:00:0a:00:02", "52:54:00:0b:00:01"
STOCK_DEFAULTS = "CONFIG_DIR=/etc/dnsmasq.d,.dpkg-dist,.dpkg-old,.dpkg-new\n"
# Debian's systemd-helper, but for what it says of files of processes
_SERVICE = """\
. /etc/default/dnsmasq
for one in $DNSMASQ_INTERFACE; do more="$more -i $one"; done
for one in $DNSMASQ_EXCEPT; do more="$more -I $one"; done
exec dnsmasq --keep-in-foreground --user=root --log-facility=- --pid-file --no-ping --log-dhcp \
  --dhcp-leasefile=/run/leases $more ${CONFIG_DIR:+-7 $CONFIG_DIR} $DNSMASQ_OPTS --local-service
"""
_DISKLESS = Path(sys.executable).with_name("diskless")


@dataclass(frozen=True)
class Lan:
    """What a network's dnsmasq is told: dnsmasq.conf, and files by their path; `defaults` is /etc/default/dnsmasq."""

    main: str
    files: Mapping[str, str] = field(default_factory=dict)
    defaults: str = STOCK_DEFAULTS


@dataclass
class SharedServer:
    """The server, with dnsmasq running or not."""

    network: ServerNetwork
    service: Service | None = None
    starts: int = 0

    def start(self) -> None:
        """Starts dnsmasq as its service does, anew where it runs; the leases that it gave are kept."""
        self.stop()
        self.starts += 1
        self.service = self.network.start(f"dnsmasq-{self.starts}", "started, ", "sh", "-c", _SERVICE)

    def stop(self) -> None:
        """Ends dnsmasq."""
        if self.service is not None:
            self.network.namespace.end(self.service)
            self.service = None

    def configure(self, lan: Lan) -> None:
        """The network's own configuration, in the server's own /etc."""
        for path, text in {"dnsmasq.conf": lan.main, "default/dnsmasq": lan.defaults, **lan.files}.items():
            place = f"/etc/{path}"
            self.run("mkdir", "-p", str(Path(place).parent))
            source = self.network.write(path.replace("/", "_"), text)
            self.network.namespace.check(["cp", str(source), place])

    def run(self, *argv: str) -> tuple[int, str]:
        """A command on the server."""
        return self.network.run(*argv)

    def server_config(self, site: str, *options: str, store: Path | None = None) -> tuple[int, str]:
        """`diskless server-config` for the store, with this site.yml."""
        place = store or self.network.store
        form = "dnsmasq" if "dhcp:" in site or "address:" in site else "dnsmasq-proxy"
        self.network.write(f"{place.name}.yml", site)
        file = self.network.directory / f"{place.name}.yml"
        return self.network.run(_DISKLESS, "server-config", "--to", place, "--site", file, "--format", form, *options)

    def etc(self) -> str:
        """All of the server's configuration, to be compared."""
        return self.run("sh", "-c", "cd /etc && find dnsmasq* default/dnsmasq -type f | sort | xargs sha256sum")[1]

    def seen_by_pc(self, server: str = LAN_SERVER) -> dict[str, Any]:
        """Everything that dnsmasq is to a PC of the network: its lease, names, and what its firmware would boot."""
        return {
            "lease": self.network.lease(PC_CARD, on=PC, vendor="MSFT 5.0", identity="01" + PC_CARD.replace(":", "")),
            "names": {name: self.network.resolve(server, name, on=PC) for name in ("nas.lan", "printer", "nobody.lan")},
            "file": self._file(server),
        }

    def _file(self, server: str) -> dict[str, str]:
        self.network.run("ip", "address", "flush", "dev", "eth0", on=PC)
        self.network.run("ip", "address", "add", "10.98.0.200/24", "dev", "eth0", on=PC)
        return self.network.fetch(server, "office.0", 2, on=PC)

    def booted(self, on: str, card: str = BOOTED_CARD) -> list[dict[str, Any]]:
        """What firmware on a network is offered, BIOS and UEFI."""
        return [offer for kind in (0, 7) for offer in self.network.discover(card, 1, architecture=kind, on=on)]

    def booted_or_not(self, on: str, card: str = BOOTED_CARD) -> list[dict[str, Any]]:
        """The same where perhaps nobody answers."""
        return [offer for kind in (0, 7) for offer in self.network.discover(card, 0, architecture=kind, on=on)]


@contextlib.contextmanager
def open_shared_server(lan: Lan) -> Iterator[SharedServer]:
    """A server with this configuration, two cards, and machines on both; dnsmasq is not started."""
    site = Site(server="192.168.1.1")
    with tempfile.TemporaryDirectory(dir=scratch()) as directory, open_network(Path(directory), site) as network:
        network.make_etc_private()
        network.namespace.check(["sh", "-c", "rm -rf /etc/dnsmasq.conf /etc/dnsmasq.d; mkdir /etc/dnsmasq.d"])
        network.add_card("lan0", f"{LAN_SERVER}/24", PC)
        # a name server is asked from an address of the network
        network.run("ip", "address", "add", "10.98.0.200/24", "dev", "eth0", on=PC)
        hosts = network.write("hosts", "10.98.0.9 nas.lan\n10.98.0.8 printer\n")
        network.namespace.check(["cp", str(hosts), "/etc/hosts"])
        office = shlex.quote(str(network.directory / "office"))
        network.namespace.check(["sh", "-c", f"mkdir {office}; printf office > {office}/office.0"])
        server = SharedServer(network)
        server.configure(lan)
        yield server
