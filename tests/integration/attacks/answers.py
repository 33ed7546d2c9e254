"""A web server of a test: it answers as its method says, and remembers who asked for what with which login."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from tests.servers import serving


@dataclass
class Asked:
    """A request."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass
class Answer:
    """What is sent back. endless: is sent again and again after the body; pause: seconds before each byte of it"""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    endless: bytes = b""
    pause: float = 0.0
    raw: bytes = b""


@dataclass
class Server:
    """Where it listens, and what it was asked."""

    address: str = ""
    asked: list[Asked] = field(default_factory=list)
    sent: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def logins(self) -> list[str]:
        return [asked.headers["Authorization"] for asked in self.asked if "Authorization" in asked.headers]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    log: Server
    choose: Callable[[Asked], Answer]

    def __getattr__(self, name: str) -> Callable[[], None]:
        if not name.startswith("do_"):
            raise AttributeError(name)
        return self._answer

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = Asked(self.command, self.path, dict(self.headers))
        self.log.asked.append(asked)
        with contextlib.suppress(OSError):
            self._send(type(self).choose(asked))

    def _send(self, chosen: Answer) -> None:
        self.close_connection = bool(chosen.raw or chosen.endless or chosen.pause)
        if chosen.raw:
            self._write(chosen.raw, chosen.pause)
        else:
            self._send_head(chosen)
        if not chosen.raw and self.command != "HEAD":
            self._write(chosen.body, chosen.pause)
        while chosen.endless and not self.log.stop.is_set():
            self._write(chosen.endless, chosen.pause)

    def _send_head(self, chosen: Answer) -> None:
        self.send_response(chosen.status)
        length = {} if chosen.endless else {"Content-Length": str(len(chosen.body))}
        for name, value in {**length, **chosen.headers}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def _write(self, data: bytes, pause: float) -> None:
        pieces = [data[place : place + 1] for place in range(len(data))] if pause else [data]
        for piece in pieces:
            if pause:
                time.sleep(pause)
            if self.log.stop.is_set():
                return
            self.wfile.write(piece)
            self.wfile.flush()
            self.log.sent += len(piece)

    def log_message(self, *arguments: object) -> None:
        pass


@contextlib.contextmanager
def answering(answer: Callable[[Asked], Answer]) -> Iterator[Server]:
    """A server whose answers are those of a function."""
    server = Server()
    handler = type("Handler", (_Handler,), {"log": server, "choose": staticmethod(answer)})
    with serving(handler) as port:
        server.address = f"127.0.0.1:{port}"
        try:
            yield server
        finally:
            server.stop.set()


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()
