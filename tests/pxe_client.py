"""A PXE client as far as DHCP and TFTP go, for tests of servers; what it got is printed as JSON. Run by path, in a
network of its own; it imports only the standard library.

    pxe_client.py discover INTERFACE MAC ARCHITECTURE CLASS ANSWERS                  a broadcast DHCPDISCOVER
    pxe_client.py request INTERFACE MAC ARCHITECTURE CLASS ANSWERS SERVER ADDRESS TYPE    a DHCPREQUEST, port 4011
    pxe_client.py lease INTERFACE MAC VENDOR IDENTITY                                a lease: the DHCPACK, or null
    pxe_client.py dns SERVER NAME                                                    the addresses of a name, or null
    pxe_client.py tftp SERVER NAME SECONDS                                           a file, or the server's error

ARCHITECTURE is what firmware says in option 93; CLASS the user class, option 77, empty for firmware that sends none;
TYPE, in hexadecimal, is that of the entry which it chose from a proxy's menu, empty where it was offered none.

VENDOR is option 60 of a machine of any kind, IDENTITY its option 61 in hexadecimal; empty where it sends none.

It asks again every second, as firmware does, until ANSWERS servers have answered, at most ten times. With 0 ANSWERS
nobody is expected to: it asks twice and prints who did.

Sources: RFC 2131 and 2132; options 60, 93, 94 and 97: RFC 4578; HTTPClient: UEFI 2.10, 24.7. Firmware and PXELINUX do
not ask for options 208 to 211: a server must send them all the same.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from typing import Any

_COOKIE = b"\x63\x82\x53\x63"
_TRIES = 10
_DISCOVER, _REQUEST = 1, 3
_ASKED = bytes((1, 3, 6, 12, 15, 17, 43, 54, 60, 66, 67))
# time offset, MTU, time servers, domain search list, and two of a site's own
_ASKED_BY_SYSTEMS = bytes((2, 26, 42, 119, 224, 225))
_TRANSACTION = b"\x12\x34\x56\x78"


def option(code: int, value: bytes) -> bytes:
    return bytes((code, len(value))) + value


# which architectures boot over HTTP, by IANA's registry
_HTTP = (15, 16, 18, 19)


def packet(kind: int, mac: str, client: tuple[int, str], address: str, more: bytes = b"") -> bytes:
    architecture, user_class = client
    what = "HTTPClient" if architecture in _HTTP else "PXEClient"
    version = "002001" if architecture == 0 else "003000"
    card = bytes.fromhex(mac.replace(":", ""))
    broadcast = b"\x80\x00"
    head = b"\x01\x01\x06\x00" + _TRANSACTION + b"\0\0" + broadcast + socket.inet_aton(address) + bytes(12)
    options = option(53, bytes((kind,))) + option(57, b"\x04\xec") + option(55, _ASKED)
    options += option(60, f"{what}:Arch:{architecture:05}:UNDI:{version}".encode())
    options += option(93, architecture.to_bytes(2, "big")) + option(94, b"\x01\x02\x01")
    options += option(97, b"\0" + bytes(10) + card)
    options += (option(77, user_class.encode()) if user_class else b"") + more + b"\xff"
    return head + card + bytes(10 + 64 + 128) + _COOKIE + options


def parse(data: bytes, sender: str) -> dict[str, Any]:
    options: dict[int, bytes] = {}
    position = 240
    while position < len(data) and data[position] != 255:
        code = data[position]
        if code == 0:
            position += 1
            continue
        length = data[position + 1]
        options[code] = options.get(code, b"") + data[position + 2 : position + 2 + length]
        position += 2 + length
    return {
        "sender": sender,
        "address": socket.inet_ntoa(data[16:20]),
        "next_server": socket.inet_ntoa(data[20:24]),
        "file": data[108:236].split(b"\0")[0].decode(),
        "options": {str(code): value.hex() for code, value in options.items()},
    }


def open_sockets(interface: str) -> tuple[socket.socket, selectors.BaseSelector]:
    """The sockets that answers come to; the first also sends."""
    selector = selectors.DefaultSelector()
    opened = []
    for port in (68, 4011):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        sock.bind(("", port))
        selector.register(sock, selectors.EVENT_READ)
        opened.append(sock)
    return opened[0], selector


def ask(kind: str, interface: str, mac: str, client: tuple[int, str], answers: int, *to: str) -> list[dict[str, Any]]:
    """The different answers."""
    sender, selector = open_sockets(interface)
    if kind == "discover":
        question, target = packet(_DISCOVER, mac, client, "0.0.0.0"), ("255.255.255.255", 67)
    else:
        # option 43: a boot server of the menu that the offer held, layer 0; UEFI that was offered none chooses none
        chosen = option(43, option(71, bytes.fromhex(to[2]) + b"\0\0") + b"\xff") if to[2] else b""
        question, target = packet(_REQUEST, mac, client, to[1], chosen), (to[0], 4011)
    found: dict[str, dict[str, Any]] = {}
    for _ in range(_TRIES if answers else 2):
        if not answers or len(found) < answers:
            sender.sendto(question, target)
        deadline = time.monotonic() + 1
        while (left := deadline - time.monotonic()) > 0 and (not answers or len(found) < answers):
            for key, _events in selector.select(left):
                assert isinstance(key.fileobj, socket.socket)
                data, (server, _port) = key.fileobj.recvfrom(4096)
                if data[4:8] == _TRANSACTION and data[0] == 2:
                    found[server] = parse(data, server)
    return [found[server] for server in sorted(found)]


def lease(interface: str, mac: str, vendor: str, identity: str) -> dict[str, Any] | None:
    """What a machine is told that takes a lease, as any machine of a network does; None where nobody answers."""
    sender, selector = open_sockets(interface)
    card = bytes.fromhex(mac.replace(":", ""))
    said = (option(60, vendor.encode()) if vendor else b"") + (option(61, bytes.fromhex(identity)) if identity else b"")
    head = b"\x01\x01\x06\x00" + _TRANSACTION + b"\0\0\x80\x00" + bytes(16) + card + bytes(10 + 64 + 128) + _COOKIE
    more = b""
    for kind in (_DISCOVER, _REQUEST):
        question = head + option(53, bytes((kind,))) + option(55, _ASKED + _ASKED_BY_SYSTEMS) + said + more + b"\xff"
        answer = _answer(sender, selector, question)
        if answer is None:
            return None
        server = bytes.fromhex(answer["options"]["54"])
        more = option(50, socket.inet_aton(answer["address"])) + option(54, server)
    return answer


def _answer(sender: socket.socket, selector: selectors.BaseSelector, question: bytes) -> dict[str, Any] | None:
    for _ in range(3):
        sender.sendto(question, ("255.255.255.255", 67))
        deadline = time.monotonic() + 1
        while (left := deadline - time.monotonic()) > 0:
            for key, _events in selector.select(left):
                assert isinstance(key.fileobj, socket.socket)
                data, (server, _port) = key.fileobj.recvfrom(4096)
                if data[4:8] == _TRANSACTION and data[0] == 2:
                    return parse(data, server)
    return None


def resolve(server: str, name: str) -> list[str] | None:
    """The IPv4 addresses that a name server has for a name, RFC 1035; None where it does not answer."""
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    question = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0" + labels + b"\0\0\1\0\1"
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(1)
    for _ in range(3):
        sock.sendto(question, (server, 53))
        try:
            data = sock.recv(512)
        except (TimeoutError, ConnectionRefusedError):
            continue
        position, found = len(question), []
        for _answer_number in range(int.from_bytes(data[6:8], "big")):
            length = int.from_bytes(data[position + 10 : position + 12], "big")
            found.append(socket.inet_ntoa(data[position + 12 : position + 12 + length]))
            position += 12 + length
        return found
    return None


def fetch(server: str, name: str, seconds: int) -> dict[str, str]:
    """A file over TFTP, RFC 1350."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(1)
    content, wanted, peer = b"", 1, (server, 69)
    question = b"\0\1" + name.encode() + b"\0octet\0"
    for _ in range(seconds):
        sock.sendto(question, peer)
        try:
            while True:
                data, peer = sock.recvfrom(2048)
                if data[1] == 5:
                    return {"error": data[4:].rstrip(b"\0").decode()}
                if int.from_bytes(data[2:4], "big") == wanted:
                    content += data[4:]
                    question = b"\0\4" + data[2:4]
                    wanted += 1
                sock.sendto(question, peer)
                if len(data) < 516:
                    return {"content": content.decode()}
        except TimeoutError:
            continue
    return {"error": "no answer"}


def main() -> None:
    kind, *rest = sys.argv[1:]
    if kind == "tftp":
        result: object = fetch(rest[0], rest[1], int(rest[2]))
    elif kind == "lease":
        result = lease(*rest)
    elif kind == "dns":
        result = resolve(*rest)
    else:
        interface, mac, architecture, user_class, answers, *to = rest
        result = ask(kind, interface, mac, (int(architecture), user_class), int(answers), *to)
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main()
