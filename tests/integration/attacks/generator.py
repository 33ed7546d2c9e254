"""Answers and directories that nobody sends by mistake, by a seed: what registries, web servers and disks can do."""

from __future__ import annotations

import gzip
import os
import random
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.integration.attacks.answers import Answer, Asked

Answering = Callable[[Asked], Answer]
_CHALLENGES = (
    "Bearer",
    "Basic",
    'Bearer realm=""',
    'Bearer realm="http://[::1/"',
    'Bearer realm="ftp://host/"',
    'Bearer realm="file:///etc/passwd"',
    "Bearer " + "a" * 60000,
    'Bearer realm="http://{other}/token",service="x",scope="' + "y" * 5000 + '"',
    "Negotiate",
    "\xff\xfe",
    "Basic realm=x, Bearer realm=http://{other}/token",
)
_PLACES = (
    "http://{other}/x",
    "//{other}/x",
    "https://{other}/x",
    "ftp://{other}/x",
    "file:///etc/passwd",
    "",
    "http://[::1/",
    "http://127.0.0.1:99999/",
    "http://" + "a" * 300 + "/",
    "http://..../",
    "http://a\x00b/",
    "javascript:1",
    "\xff",
    "/" + "x" * 60000,
    "{path}",
    "../../../../etc/passwd",
    "http://user:secret@{other}/",
)
_DOCUMENTS = (
    b"",
    b"null",
    b"[]",
    b"{}",
    b"0",
    b'""',
    b"[" * 200_000,
    b'{"a":' * 100_000,
    b"[[]," * 200_000,
    b'{"schemaVersion": 2, "layers": [{}]}',
    b'{"tags": {"a": 1}}',
    b'{"tags": [[], 1, "\\u001b]0;x\\u0007"]}',
    b'{"token": []}',
    b'{"token": "a\\r\\nX: y"}',
    b'{"access_token": "' + b"x" * 100_000 + b'"}',
    b'{"schema": 1, "manifest": "http://[::1/", "sha256": ""}',
    b'{"schema": 1, "manifest": "' + b"../" * 1000 + b'", "sha256": "x"}',
    b'{"errors": [' + b'{"code": "\\u001b[2J", "message": {}},' * 1000 + b"{}]}",
    b'{"a": 1' + b"0" * 10_000 + b"}",
    b"\xff\xfe{\x00}\x00",
    b"\xef\xbb\xbf{}",
    b"NaN",
    b"\x00" * 1000,
)
_RAW = (
    b"",
    b"\r\n",
    b"HTTP/1.1 200 OK",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/9.9 999 X\r\n\r\n",
    b"HTTP/1.1 -1 X\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nabc",
    b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
    b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-9/99\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.1 206 Partial\r\nContent-Range: bytes " + b"9" * 5000 + b"-1/2\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
)
_HEADERS = {
    "Docker-Content-Digest": ("", "x", "sha256:../../../../etc/passwd", "sha256:" + "0" * 64, "\xff"),
    "Retry-After": ("0", "-1", "nan", "1e999", "Fri, 31 Dec 1999 23:59:59 GMT", "9" * 5000),
    "Link": ('<{path}>; rel="next"', "<" * 60_000, '<http://{other}/>; rel="next"', '<http://[::1/>; rel="next"'),
    "Content-Range": ("bytes 5-9/10", "bytes */0", "x"),
    "Content-Encoding": ("gzip", "br", "zstd", "x"),
    "Content-Type": ("text/html; charset=\xff",),
}
_STATUSES = (200, 201, 202, 204, 206, 300, 304, 400, 401, 403, 404, 409, 416, 418, 429, 500, 503, 507)


_SPOILED = ("pipe", "link", "sparse", "directory", "socket", "gone", "bytes", "zero")


class Hostile:
    """Answers as `honest` does, and at some of the requests otherwise; `other` is where it leads to."""

    def __init__(self, honest: Answering, chance: random.Random, other: str) -> None:
        self._honest = honest
        self._chance = chance
        self._other = other
        self._rate = chance.choice((0.1, 0.3, 0.6, 1.0))
        self.did: list[str] = []

    def __call__(self, asked: Asked) -> Answer:
        if self._chance.random() >= self._rate:
            return self._honest(asked)
        way = self._chance.choice(_WAYS)
        self.did.append(f"{asked.method} {asked.path[:60]}: {way.__name__}")
        return way(self, asked)

    def _filled(self, text: str, asked: Asked) -> str:
        text = text.replace("{other}", self._other).replace("{path}", asked.path)
        return text.replace("\r", "").replace("\n", "").encode("latin-1", "replace").decode("latin-1")

    def _status(self, asked: Asked) -> Answer:
        return Answer(self._chance.choice(_STATUSES), body=self._chance.choice(_DOCUMENTS))

    def _redirect(self, asked: Asked) -> Answer:
        status = self._chance.choice((301, 302, 303, 307, 308))
        return Answer(status, {"Location": self._filled(self._chance.choice(_PLACES), asked)})

    def _challenge(self, asked: Asked) -> Answer:
        return Answer(401, {"WWW-Authenticate": self._filled(self._chance.choice(_CHALLENGES), asked)})

    def _document(self, asked: Asked) -> Answer:
        return Answer(body=self._chance.choice(_DOCUMENTS))

    def _bytes(self, asked: Asked) -> Answer:
        return Answer(raw=self._chance.choice(_RAW) or b"\0")

    def _header(self, asked: Asked) -> Answer:
        name = self._chance.choice(sorted(_HEADERS))
        honest = self._honest(asked)
        value = self._filled(self._chance.choice(_HEADERS[name]), asked)
        return replace(honest, headers={**honest.headers, name: value})

    def _cut(self, asked: Asked) -> Answer:
        honest = self._honest(asked)
        body = honest.body[: self._chance.randrange(len(honest.body) + 1)]
        head = f"HTTP/1.1 {honest.status} X\r\nContent-Length: {len(honest.body)}\r\n\r\n"
        return Answer(raw=head.encode() + body)

    def _flip(self, asked: Asked) -> Answer:
        honest = self._honest(asked)
        body = bytearray(honest.body)
        for _ in range(self._chance.choice((1, 3, 30))):
            if body:
                body[self._chance.randrange(len(body))] = self._chance.randrange(256)
        return replace(honest, body=bytes(body))

    def _more(self, asked: Asked) -> Answer:
        honest = self._honest(asked)
        return replace(honest, body=honest.body + os.urandom(1) * self._chance.choice((1, 1000, 1 << 20)))

    def _slow(self, asked: Asked) -> Answer:
        return Answer(raw=b"HTTP/1.1 200 OK\r\nX: y", endless=b"z", pause=0.05)

    def _slow_body(self, asked: Asked) -> Answer:
        return replace(self._honest(asked), pause=0.05)

    def _endless(self, asked: Asked) -> Answer:
        return Answer(endless=self._chance.choice((b"\0", b"[", b'{"a":')) * 10_000)

    def _packed(self, asked: Asked) -> Answer:
        return Answer(headers={"Content-Encoding": "gzip"}, body=gzip.compress(bytes(8 << 20)))


_WAYS = (
    *(Hostile._status, Hostile._redirect, Hostile._challenge, Hostile._document, Hostile._bytes, Hostile._header),
    *(Hostile._cut, Hostile._flip, Hostile._more, Hostile._slow, Hostile._slow_body, Hostile._endless),
    *(Hostile._packed, Hostile._flip, Hostile._header, Hostile._document),
)


def spoil(version: Path, chance: random.Random) -> list[str]:
    """Puts something else in the place of some names of a version's directory; what."""
    did = []
    names = sorted(path.name for path in version.iterdir())
    for name in chance.sample([*names, "manifest.json.sig"], chance.choice((1, 1, 2, 4))):
        path, kind = (
            version / name,
            chance.choice(("pipe", "link", "sparse", "directory", "socket", "gone", "bytes", "zero")),
        )
        path.unlink(missing_ok=True)
        did.append(f"{name}: {kind}")
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "link":
            path.symlink_to(chance.choice(("/dev/zero", "/etc/shadow", "/proc/self/mem", path.name, "../..")))
        elif kind == "sparse":
            with path.open("wb") as file:
                file.truncate(3 << 30)
        elif kind == "directory":
            path.mkdir()
        elif kind == "socket":
            os.mknod(path, stat.S_IFSOCK | 0o600)  # bind(2) takes no long path
        elif kind == "bytes":
            path.write_bytes(chance.randbytes(chance.choice((0, 1, 100, 10_000))))
        elif kind == "zero":
            path.write_bytes(bytes(1000))
    return did
