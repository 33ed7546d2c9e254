"""Asks for a lease as firmware of each kind does that boots, and hears every server's offer. Nothing is leased.

RFC 2131 and 2132; the PXE options 60, 93, 94 and 97 of RFC 4578; option 77, RFC 3004, as iPXE sends it. Offers are read
from the wire, where a server on this host may put them past the kernel's sockets, and from a socket, where they come if
the wire has nobody at its other end.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import select
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from builder.loaders.base import ClientArchitecture
from builder.probes.answer import NoAnswerError

_CLIENT_PORT, _SERVER_PORT = 68, 67
_COOKIE = b"\x63\x82\x53\x63"
_DISCOVER, _OFFER = 1, 2
_BROADCAST = 0x8000
_ETH_P_IP = 0x0800
_UDP = 17
_ASKED = (1, 3, 6, 12, 15, 17, 43, 54, 60, 66, 67, 208, 210)
_AGAIN_SECONDS = 2.0


@dataclass(frozen=True)
class DhcpOffer:
    """What one server offers.

    server: its address; address: for the client, None: a proxy that only names boot files
    boot_file, boot_server, root_path: None where it names none
    vendor_class: option 60, HTTPClient for firmware that boots over HTTP; None where it sends none
    """

    server: str
    address: str | None
    boot_file: str | None
    boot_server: str | None
    root_path: str | None
    vendor_class: str | None = None


@dataclass(frozen=True)
class PxeClient:
    """What a client says of itself: its architecture, option 93, and its user class, empty for firmware."""

    architecture: ClientArchitecture = ClientArchitecture.X86_BIOS
    user_class: str = ""


def discover(interface: str, seconds: float, clients: Sequence[PxeClient]) -> dict[PxeClient, list[DhcpOffer]]:
    """All offers that come to each client within `seconds`, one a server; they ask at once, as machines of their own.

    NoAnswerError where nothing can be asked. Needs root.
    """
    # locally administered: nobody's
    asking = {client: (os.urandom(4), b"\x02" + os.urandom(5)) for client in clients}
    offers: dict[PxeClient, dict[str, DhcpOffer]] = {client: {} for client in clients}
    try:
        with _listener(interface) as wire, _sender(interface) as sender:
            end, again = time.monotonic() + seconds, 0.0
            while (now := time.monotonic()) < end:
                if now >= again:
                    again = now + _AGAIN_SECONDS
                    for client, (transaction, mac) in asking.items():
                        question = _discover(client, transaction, mac)
                        sender.sendto(question, ("255.255.255.255", _SERVER_PORT))
                for handle in select.select([wire, sender], [], [], 0.2)[0]:
                    data, peer = handle.recvfrom(65536)
                    for client, (transaction, _) in asking.items():
                        own = handle is wire
                        offer = read_packet(data, transaction) if own else read_offer(data, peer[0], transaction)
                        if offer is not None:
                            offers[client].setdefault(offer.server, offer)
    except OSError as error:
        raise NoAnswerError(f"{interface}: {error.strerror or error}") from error
    return {client: list(heard.values()) for client, heard in offers.items()}


@contextlib.contextmanager
def _listener(interface: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IP)) as wire:
        wire.bind((interface, _ETH_P_IP))
        yield wire


@contextlib.contextmanager
def _sender(interface: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # a DHCP client of this host may have the port; servers answer to it wherever we ask from
        with contextlib.suppress(OSError):
            sender.bind(("", _CLIENT_PORT))
        yield sender


def _discover(client: PxeClient, transaction: bytes, mac: bytes) -> bytes:
    """A DHCPDISCOVER of firmware that boots from the network."""
    kind = client.architecture
    name = "HTTPClient" if kind.over_http else "PXEClient"
    version = "002001" if kind is ClientArchitecture.X86_BIOS else "003000"
    head = struct.pack("!BBBB4sHH16x16s192x", 1, 1, 6, 0, transaction, 0, _BROADCAST, mac.ljust(16, b"\0"))
    options = {
        53: bytes([_DISCOVER]),
        55: bytes(_ASKED),
        57: struct.pack("!H", 1464),
        60: f"{name}:Arch:{kind:05d}:UNDI:{version}".encode(),
        93: struct.pack("!H", kind),
        94: b"\1\2\1",
        97: b"\0" + mac.ljust(16, b"\0"),
    }
    if client.user_class:
        options[77] = client.user_class.encode()
    body = b"".join(bytes([code, len(value)]) + value for code, value in options.items())
    return (head + _COOKIE + body + b"\xff").ljust(300, b"\0")


def read_packet(packet: bytes, transaction: bytes) -> DhcpOffer | None:
    """The offer in an IPv4 packet, if it is one that answers `transaction`."""
    header = (packet[0] & 15) * 4 if packet else 0
    if header < 20 or len(packet) < header + 8 or packet[9] != _UDP:
        return None
    if struct.unpack("!HH", packet[header : header + 4]) != (_SERVER_PORT, _CLIENT_PORT):
        return None
    return read_offer(packet[header + 8 :], str(ipaddress.IPv4Address(packet[12:16])), transaction)


def read_offer(message: bytes, sender: str, transaction: bytes) -> DhcpOffer | None:
    """The offer in a DHCP message, if it is one that answers `transaction`."""
    if len(message) < 240 or message[4:8] != transaction or message[236:240] != _COOKIE:
        return None
    options = _options(message)
    if options.get(53) != bytes([_OFFER]):
        return None
    return DhcpOffer(
        server=_address(options.get(54, b"")) or sender,
        address=_address(message[16:20]),
        boot_file=_text(options.get(67)) or _text(message[108:236]),
        boot_server=_address(message[20:24]) or _text(options.get(66)) or _text(message[44:108]),
        root_path=_text(options.get(17)),
        vendor_class=_text(options.get(60)),
    )


def _options(message: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    position = 240
    while position + 1 < len(message) and message[position] != 255:
        code = message[position]
        if code == 0:
            position += 1
            continue
        length = message[position + 1]
        found[code] = found.get(code, b"") + message[position + 2 : position + 2 + length]
        position += 2 + length
    return found


def _address(raw: bytes) -> str | None:
    return str(ipaddress.IPv4Address(raw)) if len(raw) == 4 and any(raw) else None


def _text(raw: bytes | None) -> str | None:
    return (raw or b"").split(b"\0")[0].decode("utf-8", "replace") or None
