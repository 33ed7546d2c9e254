"""What servers say is not a reason to show a secret, and none to go on forever."""

from __future__ import annotations

import http.server
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.archive.unpack import read_index
from builder.errors import DisklessError, InputError, TransferError
from builder.model.artifacts.manifest import INDEX, ROOTFS
from builder.transports.base import Options
from builder.transports.retries import Retries
from builder.transports.table import find_offer
from tests.servers import serving
from tests.versions import make_version

SIGNED = "X-Signature=very-secret"


class Quiet(http.server.BaseHTTPRequestHandler):
    """Answers with what `answer` returns: status, headers, body."""

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        raise NotImplementedError

    def do_GET(self) -> None:
        status, headers, body = self.answer()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def front(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A server that leads to signed addresses of another, which ends every archive early."""
    version = make_version(tmp_path)

    class Store(Quiet):
        def answer(self) -> tuple[int, dict[str, str], bytes]:
            path = version / self.path.partition("?")[0].rpartition("/")[2]
            if not path.exists():
                return 404, {}, b""
            content = path.read_bytes()
            return 200, {}, content[:100] if ROOTFS in self.path else content

    with serving(Store) as port:

        class Front(Quiet):
            def answer(self) -> tuple[int, dict[str, str], bytes]:
                return 307, {"Location": f"http://127.0.0.1:{port}{self.path}?{SIGNED}"}, b""

        with serving(Front) as front:
            yield front, version


def test_an_address_that_is_signed_is_not_shown(front: tuple[int, Path]) -> None:
    port, version = front
    offer = find_offer(f"http://127.0.0.1:{port}/lab/manifest.json", Options(retries=Retries(attempts=1)))
    with pytest.raises(TransferError, match="ended early") as caught:
        list(offer.source.frames(read_index(version / INDEX).frames))
    assert SIGNED not in str(caught.value)
    assert SIGNED not in caught.value.message


def test_a_token_that_a_server_repeats_is_not_shown() -> None:
    class Registry(Quiet):
        def answer(self) -> tuple[int, dict[str, str], bytes]:
            if self.command == "HEAD":
                return 404, {}, b""
            token = str(self.headers.get("Authorization")).rpartition(" ")[2]
            body = json.dumps({"errors": [{"code": "DENIED", "message": f"{token} may not"}]}).encode()
            return 403, {}, body

    headers = (("Authorization", "Bearer glpat-0123456789"),)
    with serving(Registry) as port, pytest.raises(DisklessError, match="DENIED") as caught:
        find_offer(f"oci://127.0.0.1:{port}/lab:stable", Options(headers=headers, retries=Retries(attempts=1)))
    assert "glpat-0123456789" not in caught.value.message


def test_a_list_of_tags_that_leads_to_itself_ends() -> None:
    class Registry(Quiet):
        def answer(self) -> tuple[int, dict[str, str], bytes]:
            if "/tags/" not in self.path:
                return 404, {}, b""
            return 200, {"Link": f'<{self.path}>; rel="next"'}, b'{"tags": ["one"]}'

    with serving(Registry) as port, pytest.raises(TransferError, match="has no stable"):
        find_offer(f"oci://127.0.0.1:{port}/lab:stable", Options(retries=Retries(attempts=1)))


@pytest.mark.parametrize("address", ["http://[::1/", "http://127.0.0.1:99999/x", "oci://127.0.0.1:99999/lab"])
def test_what_looks_like_an_address_and_is_none(address: str) -> None:
    with pytest.raises(InputError, match="is not an address of a web server"):
        find_offer(address, Options(retries=Retries(attempts=1)))


def test_a_server_that_leads_to_no_address() -> None:
    class Lost(Quiet):
        def answer(self) -> tuple[int, dict[str, str], bytes]:
            return 307, {"Location": "http://127.0.0.1:99999/"}, b""

    with serving(Lost) as port, pytest.raises(TransferError, match="leads to no address"):
        find_offer(f"http://127.0.0.1:{port}/x/manifest.json", Options(retries=Retries(attempts=1)))
