"""What a mirror answers when it is asked once more, and through which proxy it is asked."""

from __future__ import annotations

import hashlib
import http.server
from pathlib import Path

import pytest

from builder.installers.look import look_at, read_proxies
from tests.servers import free_port, serving

NONE = read_proxies({})
CONTENT = b"x" * 5000


class Cut(http.server.BaseHTTPRequestHandler):
    """Announces more than it sends."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:100])

    def log_message(self, *arguments: object) -> None:
        pass


def test_a_file_is_read_up_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "with space%"
    path.write_bytes(CONTENT)
    place = str(path).replace("%", "%25").replace(" ", "%20")
    look = look_at(f"copy:{place}", NONE, len(CONTENT) + 1)
    assert look is not None
    assert (look.trouble, look.size, look.sha256) == ("", 5000, hashlib.sha256(CONTENT).hexdigest())
    short = look_at(f"file://{place}", NONE, 10)
    assert short is not None
    assert (short.size, short.head) == (10, CONTENT[:10])


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    look = look_at(f"file://{tmp_path}/nothing", NONE, 1)
    assert look is not None
    assert (look.trouble, look.status) == ("does not exist", 404)


def test_a_broken_connection_is_not_an_altered_file() -> None:
    with serving(Cut) as port:
        look = look_at(f"http://127.0.0.1:{port}/file", NONE, len(CONTENT) + 1)
    assert look is not None
    assert "broke after 100 of 5000 bytes" in look.trouble


def test_nobody_answers() -> None:
    look = look_at(f"http://127.0.0.1:{free_port()}/file", NONE, 1)
    assert look is not None
    assert look.trouble == "127.0.0.1 does not take connections"


def test_a_proxy_is_named_without_its_login() -> None:
    port = free_port()
    for scheme in ("http", "https"):
        proxies = read_proxies({f"{scheme}_proxy": f"http://user:secret@127.0.0.1:{port}"})
        look = look_at(f"{scheme}://mirror.invalid/file", proxies, 1)
        assert look is not None
        assert look.trouble == f"the proxy 127.0.0.1:{port} does not take connections"
        assert "secret" not in look.hint


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://mirror.example/x", "http://apt:1"),
        ("http://near.example/x", None),
        ("http://far.example/x", "http://far:2"),
        ("https://mirror.example/x", "http://environment:3"),
        ("https://inside.example/x", None),
    ],
)
def test_apt_configuration_counts_more_than_the_environment(url: str, expected: str | None) -> None:
    environment = {"http_proxy": "http://environment:3", "https_proxy": "http://environment:3"}
    lines = [
        'Acquire::http::Proxy "http://apt:1";',
        'Acquire::http::Proxy::near.example "DIRECT";',
        'Acquire::http::Proxy::far.example "http://far:2";',
    ]
    proxies = read_proxies({**environment, "no_proxy": "inside.example"}, lines)
    assert proxies.find(url) == expected


def test_where_a_program_chooses_the_proxy_nothing_is_asked() -> None:
    proxies = read_proxies({}, ['Acquire::http::Proxy-Auto-Detect "/usr/bin/auto-apt-proxy";'])
    assert look_at("http://127.0.0.1:9/", proxies, 1) is None
    assert look_at("ftp://127.0.0.1/", NONE, 1) is None
