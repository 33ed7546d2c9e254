"""A proxy that does to HTTP what networks do: cuts, delays, damages, refuses, and gives all instead of a range."""

from __future__ import annotations

import collections
import contextlib
import http.client
import http.server
import random
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.servers import Server, serving

FAULTS = (
    "500",
    "503",
    "429",
    "cut before",
    "cut request",
    "cut answer",
    "damage request",
    "damage answer",
    "delay",
    "whole",
)
_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length")


@dataclass
class FaultyProxy:
    """What happened on the line, in bytes of bodies `up` and `down`; `rate`: how many of the requests meet a fault."""

    random: random.Random
    rate: float = 0.0
    only: str = ""  # this fault and no other
    planned: dict[tuple[str, int], str] = field(default_factory=dict)  # (method, its how manieth request): fault
    server: Server = field(init=False)
    up: int = 0
    down: int = 0
    delay: float = 0.02
    pause: float = 0.0  # seconds for every 64 KiB
    faults: collections.Counter[str] = field(default_factory=collections.Counter)
    count_of: collections.Counter[str] = field(default_factory=collections.Counter)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def choose(self, method: str) -> str:
        """The fault that a request meets, "" for none."""
        with self.lock:
            self.count_of[method] += 1
            if (method, self.count_of[method]) in self.planned:
                return self.planned[method, self.count_of[method]]
            if self.random.random() >= self.rate:
                return ""
            fault = self.only or self.random.choice(FAULTS)
            self.faults[fault] += 1
            return fault

    def count(self, *, up: int = 0, down: int = 0) -> None:
        """Bytes of bodies that went through."""
        with self.lock:
            self.up += up
            self.down += down

    def reset(self) -> None:
        """Counts from nothing again."""
        with self.lock:
            self.up = self.down = 0
            self.requests.clear()
            self.count_of.clear()


@contextlib.contextmanager
def faulty_proxy(upstream: Server, seed: int, rate: float = 0.0) -> Iterator[FaultyProxy]:
    """A proxy before `upstream`, at its `server`."""
    proxy = FaultyProxy(random.Random(seed), rate)

    class Handler(_Handler):
        state = proxy
        upstream_address = upstream.address

    for method in ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "MKCOL"):
        setattr(Handler, f"do_{method}", Handler.forward)
    with serving(Handler) as port:
        proxy.server = Server("http", f"127.0.0.1:{port}", upstream.data)
        yield proxy


class _CutError(Exception):
    """The connection is to end here."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: FaultyProxy
    upstream_address: str

    def setup(self) -> None:
        # what waits in the kernel counts as sent, and a killed client has not read it
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 << 10)
        super().setup()

    def forward(self) -> None:
        fault = self.state.choose(self.command)
        with self.state.lock:
            self.state.requests.append(
                (self.command, self.path, self.headers.get("Range", "") or self.headers.get("Content-Range", ""))
            )
        try:
            if fault == "delay":
                time.sleep(self.state.delay)
            if fault == "cut before":
                raise _CutError
            body = self._read_body(fault)
            if fault in ("500", "503", "429"):
                self._refuse(int(fault))
                return
            self._relay(fault, body)
        except (_CutError, OSError, http.client.HTTPException):
            self.close_connection = True

    def _read_body(self, fault: str) -> bytes:
        size = int(self.headers.get("Content-Length", 0))
        parts, left = [], size
        while left > 0:
            data = self.rfile.read1(min(left, 1 << 16))
            if not data:
                raise _CutError
            self.state.count(up=len(data))
            parts.append(data)
            left -= len(data)
            time.sleep(self.state.pause)
        body = b"".join(parts)
        return _damaged(body, self.state) if fault == "damage request" and body else body

    def _refuse(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Retry-After", "0")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _relay(self, fault: str, body: bytes) -> None:
        connection = http.client.HTTPConnection(self.upstream_address, timeout=60)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
            if fault == "whole":
                headers.pop("Range", None)
            if "Content-Length" in self.headers:
                headers["Content-Length"] = self.headers["Content-Length"]
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            if fault == "cut request":
                connection.send(body[: len(body) // 2])
                raise _CutError
            connection.send(body)
            self._answer(fault, connection.getresponse())
        finally:
            connection.close()

    def _answer(self, fault: str, response: http.client.HTTPResponse) -> None:
        self.send_response_only(response.status)
        for name, value in response.getheaders():
            if name.lower() not in _HOP:
                self.send_header(name, value)
        length = response.headers.get("Content-Length", "0" if self.command != "HEAD" else None)
        if length is not None:
            self.send_header("Content-Length", length)
        self.end_headers()
        size = int(length or 0)
        if self.command == "HEAD" or size == 0:
            return
        keep = self.state.random.randrange(size) if fault == "cut answer" else size
        harm = self.state.random.randrange(size) if fault == "damage answer" else -1
        position = 0
        while data := response.read1(1 << 16):
            if 0 <= harm - position < len(data):
                data = data[: harm - position] + bytes([data[harm - position] ^ 1]) + data[harm - position + 1 :]
            self.wfile.write(data[: keep - position])
            self.state.count(down=min(len(data), keep - position))
            position += len(data)
            time.sleep(self.state.pause)
            if position >= keep < size:
                raise _CutError

    def log_message(self, *arguments: object) -> None:
        pass


def _damaged(body: bytes, state: FaultyProxy) -> bytes:
    position = state.random.randrange(len(body))
    return body[:position] + bytes([body[position] ^ 1]) + body[position + 1 :]
