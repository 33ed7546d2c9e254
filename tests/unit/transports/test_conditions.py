"""Two uploads at once on a web server that knows conditions: the second one changes nothing, not even for a moment."""

from __future__ import annotations

import http.server
import json
from pathlib import Path
from typing import ClassVar

import pytest

from builder.errors import TransferError
from builder.transports.base import Options
from builder.upload import Signing, upload
from tests.images import ssh_key
from tests.places import HASTY
from tests.require import needs_tool
from tests.servers import serving
from tests.versions import make_version

pytestmark = needs_tool("ssh-keygen")


class Conditional(http.server.BaseHTTPRequestHandler):
    """Keeps what is put in memory, unless a condition says otherwise.

    between: what another upload puts before the next PUT of a channel
    """

    protocol_version = "HTTP/1.1"
    files: ClassVar[dict[str, bytes]]
    between: ClassVar[list[bytes]]
    refused: ClassVar[list[str]]

    def do_GET(self) -> None:
        body = self.files.get(self.path)
        self._answer(404 if body is None else 200, body or b"")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if "/channels/" in self.path and self.between:
            self.files[self.path] = self.between.pop()
        there = self.files.get(self.path)
        if self._holds(there):
            self.files[self.path] = body
            self._answer(201, b"")
        else:
            self.refused.append(self.path)
            self._answer(412, b"")

    def _holds(self, there: bytes | None) -> bool:
        if "If-None-Match" in self.headers:
            return there is None
        return "If-Match" not in self.headers or (there is not None and self.headers["If-Match"] == tag_of(there))

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", tag_of(body))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        pass


def tag_of(body: bytes) -> str:
    return f'"{hash(body):x}"'


@pytest.mark.parametrize("before", [False, True], ids=["first", "later"])
def test_the_second_of_two_uploads_changes_nothing(before: bool, tmp_path: Path) -> None:
    class Handler(Conditional):
        files: ClassVar[dict[str, bytes]] = {}
        between: ClassVar[list[bytes]] = []
        refused: ClassVar[list[str]] = []

    first, second = (make_version(tmp_path / "here", {"etc/name": name}, files=3) for name in (b"1", b"2"))
    channel = "/images/lab/channels/stable.json"
    options = Options(retries=HASTY, cache=tmp_path / "cache")
    with serving(Handler) as port:
        target = f"http://127.0.0.1:{port}/images"
        upload(first, target, ("stable",), options, Signing(ssh_key()))
        others = Handler.files[channel]
        if not before:
            del Handler.files[channel]
        Handler.between.append(json.dumps({**json.loads(others), "signature": "another's"}).encode())
        theirs = Handler.between[0]
        with pytest.raises(TransferError, match="another upload moved stable"):
            upload(second, target, ("stable",), options, Signing(ssh_key()))
        assert Handler.files[channel] == theirs
        assert Handler.refused == [channel]
        Handler.files[channel] = others
        upload(second, target, ("stable",), options, Signing(ssh_key()))
        assert json.loads(json.loads(Handler.files[channel])["statement"])["serial"] == 2
