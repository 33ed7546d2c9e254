"""A mirror on loopback that answers some paths with a status of HTTP, and what can be wrong with its files."""

from __future__ import annotations

import contextlib
import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files, but for what a test answers with a status: every path with one of these parts."""

    answers: ClassVar[dict[str, int]] = {}

    def do_GET(self) -> None:
        status = next((status for part, status in self.answers.items() if part in self.path), 0)
        if status:
            self.send_error(status)
        else:
            super().do_GET()

    def log_message(self, *arguments: object) -> None:
        pass


@contextlib.contextmanager
def web_server(directory: Path, **answers: int) -> Iterator[str]:
    kind = type("Answering", (Handler,), {"answers": answers})
    factory = functools.partial(kind, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), factory) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def alter_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def empty(path: Path) -> None:
    path.write_bytes(b"")


# what can be wrong with a file that a mirror has
BREAKS = (alter_byte, cut, lengthen, empty)
