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

    between: what another upload puts before the next PUT of a channel; spoils: how many are kept with a byte changed;
    knows: whether it knows conditions, or else refuses a request that has one; fickle: its tags change by themselves
    """

    protocol_version = "HTTP/1.1"
    files: ClassVar[dict[str, bytes]]
    between: ClassVar[list[bytes]]
    refused: ClassVar[list[str]]
    spoils = 0
    knows = True
    fickle = False

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
        if not self.knows and {"If-Match", "If-None-Match"} & set(self.headers):
            self._answer(501, b"")
        elif self._holds(there):
            if "/channels/" in self.path and self.spoils:
                type(self).spoils -= 1
                body = body.replace(b"../2", b"../3")
            self.files[self.path] = body
            self._answer(201, b"")
        else:
            self.refused.append(self.path)
            self._answer(412, b"")

    def _holds(self, there: bytes | None) -> bool:
        if "If-None-Match" in self.headers:
            return there is None
        if "If-Match" not in self.headers:
            return True
        return there is not None and self.headers["If-Match"] == tag_of(there) and not self.fickle

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


CHANNEL = "/images/lab/channels/stable.json"


@pytest.fixture
def handler() -> type[Conditional]:
    class Handler(Conditional):
        files: ClassVar[dict[str, bytes]] = {}
        between: ClassVar[list[bytes]] = []
        refused: ClassVar[list[str]] = []

    return Handler


def meaning(handler: type[Conditional]) -> str:
    """The version that the channel leads to."""
    return str(json.loads(handler.files[CHANNEL])["manifest"]).split("/")[1]


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("before", [False, True], ids=["first", "later"])
def test_the_second_of_two_uploads_changes_nothing(
    before: bool, signed: bool, handler: type[Conditional], tmp_path: Path
) -> None:
    first, second = (make_version(tmp_path / "here", {"etc/name": name}, files=3) for name in (b"1", b"2"))
    options = Options(retries=HASTY, cache=tmp_path / "cache")
    signing = Signing(ssh_key()) if signed else Signing()
    with serving(handler) as port:
        target = f"http://127.0.0.1:{port}/images"
        upload(first, target, ("stable",), options, signing)
        others = handler.files[CHANNEL]
        if not before:
            del handler.files[CHANNEL]
        theirs = json.dumps({**json.loads(others), **({"signature": "another's"} if signed else {"another": 1})})
        handler.between.append(theirs.encode())
        with pytest.raises(TransferError, match="another upload moved stable"):
            upload(second, target, ("stable",), options, signing)
        assert handler.files[CHANNEL] == theirs.encode()
        assert handler.refused == [CHANNEL]
        handler.files[CHANNEL] = others
        upload(second, target, ("stable",), options, signing)
        assert meaning(handler) == second.name


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("how", ["spoils", "fickle", "unknown"])
def test_what_is_told_as_moved_is_moved(how: str, signed: bool, handler: type[Conditional], tmp_path: Path) -> None:
    """Where the first PUT arrives spoiled, tags change by themselves, or conditions are refused."""
    first, second = (make_version(tmp_path / "here", {"etc/name": name}, files=3) for name in (b"1", b"2"))
    options = Options(retries=HASTY, cache=tmp_path / "cache")
    signing = Signing(ssh_key()) if signed else Signing()
    handler.knows, handler.fickle = how != "unknown", how == "fickle"
    with serving(handler) as port:
        target = f"http://127.0.0.1:{port}/images"
        for version in (first, second):
            handler.spoils = 1 if how == "spoils" else 0
            assert upload(version, target, ("stable",), options, signing).tags == ("stable",)
            assert meaning(handler) == version.name
