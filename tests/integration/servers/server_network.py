"""A server, a client and a router on one network, each with a stack of its own, for tests of real server programs.

The server is the namespace's own stack; its eth1 is the bridge that the others are plugged into.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.bootlab.namespace import Namespace, Service
from builder.bootlab.ready import await_ready
from builder.model.site import Site
from builder.render.server.files import Format, server_files
from builder.store.records.record import Record, write_record
from tests.scratch import scratch
from tests.shares import served

CLIENT, ROUTER = "client", "router"
KNOWN, UNKNOWN = "52:54:00:00:00:01", "52:54:00:00:00:99"
_PXE_CLIENT = str(Path(__file__).parents[2] / "pxe_client.py")


@dataclass(frozen=True)
class ServerNetwork:
    """The network; `directory` is where configurations and logs lie, `store` holds a store with a boot directory."""

    namespace: Namespace
    directory: Path
    store: Path

    def write(self, name: str, text: str) -> Path:
        """A file of the server's configuration."""
        path = self.directory / name
        path.write_text(text, "utf-8")
        return path

    def render(self, form: Format, site: Site, number: int = 0) -> Path:
        """A rendered text, in a file."""
        return self.write(f"{form}-{number}.conf", server_files(form, site, served(self.store))[number].text)

    def run(self, *argv: str | Path, on: str | None = None) -> tuple[int, str]:
        """Exit status and output of a program on the server, or on another machine."""
        done = self.namespace.run([*_entered(on), *map(str, argv)])
        return done.status, done.output

    def start(self, name: str, ready: str, *argv: str | Path, on: str | None = None) -> Service:
        """Starts a server and waits until its log has the word `ready`."""
        service = self.namespace.start(name, [*_entered(on), *map(str, argv)])
        await_ready(self.namespace, service, lambda: ready in service.log.read_text("utf-8", "replace"))
        return service

    def start_until(self, name: str, is_up: Callable[[], bool], *argv: str | Path) -> Service:
        """Starts a server that logs nothing and waits until `is_up`."""
        service = self.namespace.start(name, list(map(str, argv)))
        await_ready(self.namespace, service, is_up)
        return service

    def discover(
        self, mac: str, answers: int = 1, *, architecture: int = 0, user_class: str = "", on: str = CLIENT
    ) -> list[dict[str, Any]]:
        """What servers offer a PXE client, by their addresses; with 0 answers nobody is expected to."""
        asked = ("discover", "eth0", mac, str(architecture), user_class, str(answers))
        offers: list[dict[str, Any]] = self._client(*asked, on=on)
        return offers

    def request_at_4011(
        self, mac: str, server: str, address: str, *, chosen: str = "", architecture: int = 0, user_class: str = ""
    ) -> list[dict[str, Any]]:
        """What a proxy says to a client that has an address, and chose an entry of this type from its menu."""
        asked = ("request", "eth0", mac, str(architecture), user_class, "1", server, address, chosen)
        answers: list[dict[str, Any]] = self._client(*asked)
        return answers

    def lease(self, mac: str, *, on: str = CLIENT, vendor: str = "", identity: str = "") -> dict[str, Any] | None:
        """What a machine of any kind is told that takes a lease; None where nobody answers it."""
        answer: dict[str, Any] | None = self._client("lease", "eth0", mac, vendor, identity, on=on)
        return answer

    def resolve(self, server: str, name: str, *, on: str = CLIENT) -> list[str] | None:
        """The addresses that a name server has for a name; None where it does not answer."""
        found: list[str] | None = self._client("dns", server, name, on=on)
        return found

    def fetch(self, server: str, name: str, seconds: int = 10, *, on: str = CLIENT) -> dict[str, str]:
        """A file over TFTP: its content, or an error."""
        result: dict[str, str] = self._client("tftp", server, name, str(seconds), on=on)
        return result

    def address_client(self, address: str) -> None:
        """Gives the client an address with its prefix length, until the next one."""
        self.run("ip", "address", "flush", "dev", "eth0", on=CLIENT)
        self.run("ip", "address", "add", address, "dev", "eth0", on=CLIENT)

    def make_etc_private(self) -> None:
        """Lets the server's /etc be changed, for itself alone."""
        for command in ("mkdir /run/etc", "cp -a /etc/. /run/etc", "mount --bind /run/etc /etc"):
            self.namespace.check(command.split())

    def add_card(self, name: str, address: str, machine: str) -> None:
        """Another network card of the server, a bridge, and a machine that is plugged into it."""
        for command in (
            f"ip link add {name} type bridge stp_state 0 forward_delay 0",
            f"ip address add {address} dev {name}",
            f"ip link set {name} up",
            *_plugged(machine, name),
        ):
            self.namespace.check(command.split())

    def listens(self, port: int, *, udp: bool) -> bool:
        """Whether something on the server is bound to a port."""
        status, output = self.run("ss", "-Hln", "--udp" if udp else "--tcp", f"sport = :{port}")
        return status == 0 and output.strip() != ""

    def _client(self, *arguments: str, on: str = CLIENT) -> Any:
        status, output = self.run(sys.executable, "-I", "-S", _PXE_CLIENT, *arguments, on=on)
        assert status == 0, output
        return json.loads(output)


@contextlib.contextmanager
def open_network(directory: Path, site: Site) -> Iterator[ServerNetwork]:
    """The network of a site, with a small store; nothing of it is left at the end but the directory."""
    store = directory / "store"
    for name in ("boot/pxelinux.cfg", "versions", "writable", "ro", "rw"):
        (store / name).mkdir(parents=True)
    write_record(store, Record({"ro": 3}, old_exports=True))
    (store / "boot/pxelinux.0").write_text("loader", "utf-8")
    (store / "boot/pxelinux.cfg/default").write_text("x" * 3000, "utf-8")
    directory.chmod(0o755)  # for servers that give root up
    with Namespace(directory) as namespace:
        for place in ("/run", "/var/lib/nfs"):  # where servers keep their state
            if Path(place).is_dir():
                namespace.check(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", place])
        for command in _set_up(site.server, site.network):
            namespace.check(command)
        yield ServerNetwork(namespace, directory, store)


@contextlib.contextmanager
def open_site(site: Site) -> Iterator[ServerNetwork]:
    """Every network of a site, with a machine of the card's name on each card but the first.

    On a file system with file handles, below no directory that only root may enter. The server is the router of the
    further networks' clients.
    """
    with tempfile.TemporaryDirectory(dir=scratch()) as directory, open_network(Path(directory), site) as opened:
        for card in site.interfaces[1:]:
            (one, *_) = [one for one in site.networks if one.interface == card]
            opened.add_card(card, f"{one.router}/{one.network.prefixlen}", f"on-{card}")
        yield opened


def _set_up(server: str, network: ipaddress.IPv4Network) -> list[list[str]]:
    bridge = "ip link add eth1 type bridge stp_state 0 forward_delay 0"
    commands = ["ip link set lo up", bridge, f"ip address add {server}/{network.prefixlen} dev eth1"]
    for name in (CLIENT, ROUTER):
        commands += _plugged(name, "eth1")
    router = f"nsenter --net=/run/netns/{ROUTER} ip address add {network[-2]}/{network.prefixlen} dev eth0"
    return [command.split() for command in (*commands, "ip link set eth1 up", router)]


def _plugged(machine: str, bridge: str) -> list[str]:
    """Commands that make a machine and plug it in."""
    return [
        f"ip netns add {machine}",
        f"ip link add {machine} type veth peer name eth0 netns {machine}",
        f"ip link set {machine} master {bridge} up",
        f"nsenter --net=/run/netns/{machine} ip link set eth0 up",
        f"nsenter --net=/run/netns/{machine} ip link set lo up",
    ]


def _entered(machine: str | None) -> Sequence[str]:
    return () if machine is None else ("nsenter", f"--net=/run/netns/{machine}")
