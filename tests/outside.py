"""A host of its own for pasta: a network with a server outside, a resolver on 127.0.0.53, and what must not be reached.

Runs in mount and network namespaces of its own (`unshare --mount --net`): python -m tests.outside WORK. Prints one JSON
object: what a sandbox there saw, and whether anybody reached the sandbox.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

from builder.system.run import Runner
from builder.system.sandbox.network import NetworkAccess
from builder.system.sandbox.sandbox import Sandbox
from builder.system.userns.ids import find_ids
from builder.system.userns.inside import call_inside
from tests.integration.builds.test_hostile_recipes import attack
from tests.integration.builds.test_sandbox import Box

OWN, OUTSIDE, ANSWER = "10.9.9.2", "10.9.9.1", "192.0.2.99"
SECRET_PORT, OPEN_PORT, INSIDE_PORT = 8081, 8080, 9999

_SERVER = f"""
import socket
server = socket.create_server(("{OUTSIDE}", {OPEN_PORT}))
print(flush=True)
while True:
    server.accept()[0].sendall(b"outside")
"""
_HOLD = f"""
ip link set lo up
while ! ip address add {OUTSIDE}/24 dev there 2>/dev/null; do sleep 0.05; done
ip link set there up
exec python3 -c "$1"
"""


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True)


def make_network(work: Path) -> subprocess.Popen[bytes]:
    """lo, and a card that leads to another network namespace, where a server is; the process that holds that."""
    other = subprocess.Popen(["unshare", "--net", "sh", "-c", _HOLD, "sh", _SERVER], stdout=subprocess.PIPE)
    time.sleep(0.2)
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "here", "type", "veth", "peer", "name", "there", "netns", str(other.pid))
    run("ip", "address", "add", f"{OWN}/24", "dev", "here")
    run("ip", "link", "set", "here", "up")
    run("ip", "route", "add", "default", "via", OUTSIDE)
    assert other.stdout is not None
    other.stdout.readline()
    node, resolver = work.parent / "tun", work.parent / "resolv.conf"
    os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(10, 200))
    node.chmod(0o666)
    run("mount", "--bind", node, "/dev/net/tun")
    resolver.write_text("nameserver 127.0.0.53\n", "ascii")
    run("mount", "--bind", resolver, "/etc/resolv.conf")
    return other


def answer_names() -> None:
    """A resolver as systemd-resolved's stub is: every name has one address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.53", 53))
        while True:
            query, sender = server.recvfrom(512)
            question = query[12 : query.index(b"\0", 12) + 5]
            record = b"\xc0\x0c\0\x01\0\x01\0\0\0\x05\0\x04" + socket.inet_aton(ANSWER)
            server.sendto(query[:2] + b"\x81\x80\0\x01\0\x01\0\0\0\0" + question + record, sender)


def serve(server: socket.socket, reached: list[str]) -> None:
    while True:
        server.accept()
        reached.append(f"the host's {server.getsockname()!r}")


def knock(reached: list[str]) -> None:
    """Tries to reach the sandbox from the host."""
    while True:
        for address in ("127.0.0.1", OWN):
            with contextlib.suppress(OSError), socket.create_connection((address, INSIDE_PORT), timeout=1):
                reached.append(f"the sandbox by {address}")
        time.sleep(0.05)


def main() -> None:
    work = Path(sys.argv[1])
    reached: list[str] = []
    other = make_network(work)
    private = socket.create_server(("127.0.0.1", SECRET_PORT))
    everywhere = socket.create_server(("0.0.0.0", SECRET_PORT + 1))
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind("\0diskless-test")
    abstract.listen()
    for server in (private, everywhere, abstract):
        threading.Thread(target=serve, args=(server, reached), daemon=True).start()
    for target in (answer_names, lambda: knock(reached)):
        threading.Thread(target=target, daemon=True).start()

    def inside() -> str:
        with Runner(work.parent / "outside.log") as runner:
            box = Box(Sandbox(runner, work / "view", (work,), work / "tmp"), work)
            (box.tree / "etc/resolv.conf").touch()
            return attack(box, "network", network=NetworkAccess.OUTSIDE)

    try:
        seen = json.loads(call_inside(find_ids(), inside))
    finally:
        other.kill()
    print(json.dumps({"seen": seen, "reached": reached}), flush=True)  # noqa: T201 - its answer
    os._exit(0)


if __name__ == "__main__":
    main()
