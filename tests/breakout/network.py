"""python network.py: what a script with a network reaches, in the network that tests/outside.py makes; as JSON."""

from __future__ import annotations

import json
import socket
import sys
import time

SECONDS = 5


def tried(family: int, address: object) -> str:
    """What a server says, or the error."""
    try:
        with socket.socket(family) as client:
            client.settimeout(SECONDS)
            client.connect(address)  # type: ignore[arg-type]
            return client.recv(64).decode()
    except OSError as error:
        return type(error).__name__


def asked(name: str) -> str:
    """The address of a name, from the first server of resolv.conf."""
    with open("/etc/resolv.conf", encoding="ascii") as file:
        server = next(line.split()[1] for line in file if line.startswith("nameserver"))
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(SECONDS)
        client.sendto(b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0" + labels + b"\0\0\x01\0\x01", (server, 53))
        return socket.inet_ntoa(client.recv(512)[-4:])


def main() -> None:
    server = socket.create_server(("0.0.0.0", 9999))
    report = {
        "name": asked("mirror.example"),
        "outside": tried(socket.AF_INET, ("10.9.9.1", 8080)),
        "loopback": tried(socket.AF_INET, ("127.0.0.1", 8081)),
        "own address": tried(socket.AF_INET, ("10.9.9.2", 8082)),
        "gateway": tried(socket.AF_INET, ("10.9.9.1", 8081)),
        "abstract": tried(socket.AF_UNIX, "\0diskless-test"),
    }
    time.sleep(1)  # others try to come in meanwhile
    server.close()
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main()
