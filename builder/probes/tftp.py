"""A client of TFTP, RFC 1350: as a network card asks for its boot file."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator

from builder.probes.answer import ErrorAnswerError, NoAnswerError, RefusedAnswerError, SilentError

_PORT = 69
_REQUEST, _DATA, _ACKNOWLEDGE, _ERROR = 1, 3, 4, 5
_BLOCK = 512
_SECONDS, _TRIES = 1.0, 3
_IP_RECVERR = 11  # ip(7): an unconnected socket, too, hears that nobody listens


def fetch(server: str, name: str, limit: int) -> bytes:
    """The first `limit` bytes of a file, or all of it; NoAnswerError says why it did not come."""
    content = b""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        handle.settimeout(_SECONDS)
        handle.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        for block, peer in _blocks(handle, server, name):
            content += block
            if len(content) >= limit:
                with contextlib.suppress(OSError):
                    handle.sendto(struct.pack("!HH", _ERROR, 0) + b"enough\0", peer)
                break
    return content[:limit]


def _blocks(handle: socket.socket, server: str, name: str) -> Iterator[tuple[bytes, tuple[str, int]]]:
    request = struct.pack("!H", _REQUEST) + name.encode() + b"\0octet\0"
    peer, packet, number = (server, _PORT), request, 1
    while True:
        data, sender = _exchange(handle, packet, peer, number)
        if number == 1:
            peer = sender  # a port of its own for every transfer
        yield data, peer
        packet = struct.pack("!HH", _ACKNOWLEDGE, number & 0xFFFF)
        if len(data) < _BLOCK:
            handle.sendto(packet, peer)
            return
        number += 1


def _exchange(
    handle: socket.socket, packet: bytes, peer: tuple[str, int], number: int
) -> tuple[bytes, tuple[str, int]]:
    """Sends until block `number` comes."""
    for _ in range(_TRIES):
        try:
            handle.sendto(packet, peer)
            while True:
                answer, sender = handle.recvfrom(_BLOCK + 4)
                if sender[0] != peer[0] or (peer[1] != _PORT and sender != peer) or len(answer) < 4:
                    continue
                kind, value = struct.unpack("!HH", answer[:4])
                if kind == _ERROR:
                    text = answer[4:].split(b"\0")[0].decode("utf-8", "replace")
                    raise ErrorAnswerError(f"the server says: {text or f'error {value}'}")
                if kind == _DATA and value == number & 0xFFFF:
                    return answer[4:], sender
        except TimeoutError:
            continue
        except ConnectionRefusedError as error:
            raise RefusedAnswerError("nothing listens on UDP port 69") from error
        except OSError as error:
            raise NoAnswerError(error.strerror or str(error)) from error
    raise SilentError(f"no answer in {_SECONDS * _TRIES:g} s")
