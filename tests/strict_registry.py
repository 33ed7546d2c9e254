"""A registry with the limits and manners of those that companies run: it refuses, answers 201 where others answer 202,
keeps no manifest that it took, says that it has blobs which are gone.

Source: the OCI distribution specification 1.1, and what the documents of such registries say of their limits.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.servers import Server, serving

JSON, HTML, TEXT = "application/json", "text/html", "text/plain; charset=utf-8"


def oci_error(code: str, message: str, detail: object = None) -> bytes:
    """The body of an error as the distribution specification has it."""
    return json.dumps({"errors": [{"code": code, "message": message, "detail": detail}]}).encode()


@dataclass(frozen=True)
class Refusal:
    """How something is refused."""

    status: int
    body: bytes
    type: str = JSON


@dataclass
class StrictRegistry:
    """Its rules, and what it has.

    most_layers, most_bytes: of a manifest; too_large: how a larger one is refused
    refusals: (method, kind of address: manifests, blobs, uploads or tags) -> how each such request is refused
    statuses: (method, kind) -> of success, where it is another than in the specification
    gone: digests of blobs that it says it has, and cannot give
    keeps_manifests: whether one that it took is there afterwards
    deletes: whether it removes manifests; keeps_tags: whether a tag gives one that was removed by its digest
    """

    most_layers: int = 10_000
    most_bytes: int = 4 << 20
    too_large: Refusal = field(
        default_factory=lambda: Refusal(400, oci_error("MANIFEST_INVALID", "manifest invalid", "too many layers"))
    )
    refusals: dict[tuple[str, str], Refusal] = field(default_factory=dict)
    statuses: dict[tuple[str, str], int] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    immutable: bool = False
    keeps_manifests: bool = True
    deletes: bool = True
    keeps_tags: bool = False
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    asked: collections.Counter[tuple[str, str]] = field(default_factory=collections.Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)
    server: Server = field(init=False)


_ADDRESS = re.compile(
    r"/v2/(?P<name>[a-z0-9/_.-]+?)/(?P<kind>blobs/uploads|blobs|manifests|tags)/(?P<what>[^?]*)(?:\?(?P<query>.*))?"
)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: StrictRegistry

    def __getattr__(self, name: str) -> object:
        if not name.startswith("do_"):
            raise AttributeError(name)
        return self._handle

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = _ADDRESS.fullmatch(self.path)
        if found is None:
            self._answer(404, oci_error("NAME_UNKNOWN", "no such address"))
            return
        kind = found["kind"].rpartition("/")[2]
        with self.registry.lock:
            self.registry.asked[self.command, kind] += 1
            refused = self.registry.refusals.get((self.command, kind))
            if refused is not None:
                self._answer(refused.status, refused.body, {"Content-Type": refused.type})
            else:
                getattr(self, f"_{kind}")(found["what"], found["query"] or "", body)

    def _tags(self, what: str, query: str, body: bytes) -> None:
        self._answer(200, json.dumps({"name": "lab", "tags": sorted(self.registry.tags)}).encode())

    def _uploads(self, what: str, query: str, body: bytes) -> None:
        uploads = self.registry.uploads
        here = self.path.partition("?")[0]
        if self.command == "POST":
            name = f"upload{len(uploads)}"
            uploads[name] = b""
            self._answer(self._status(202), headers={"Location": f"{here}{name}"})
        elif what not in uploads:
            self._answer(404, oci_error("BLOB_UPLOAD_UNKNOWN", "no such upload"))
        elif self.command == "PATCH":
            uploads[what] += body
            span = f"0-{len(uploads[what]) - 1}"
            self._answer(self._status(202), headers={"Location": here, "Range": span})
        elif self.command == "PUT":
            data = uploads.pop(what) + body
            digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
            if f"digest={digest}" not in query:
                self._answer(400, oci_error("DIGEST_INVALID", "provided digest did not match uploaded content"))
                return
            self.registry.blobs[digest] = data
            self.registry.gone.discard(digest)
            self._answer(self._status(201), headers={"Docker-Content-Digest": digest})
        else:
            self._answer(204, headers={"Location": here, "Range": f"0-{max(0, len(uploads[what]) - 1)}"})

    def _blobs(self, what: str, query: str, body: bytes) -> None:
        data = self.registry.blobs.get(what)
        if data is None or (self.command == "GET" and what in self.registry.gone):
            self._answer(404, oci_error("BLOB_UNKNOWN", "blob unknown to registry"))
            return
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is None or self.command == "HEAD":
            self._answer(200, data)
            return
        first, last = int(asked[1]), min(int(asked[2] or len(data) - 1), len(data) - 1)
        self._answer(206, data[first : last + 1], {"Content-Range": f"bytes {first}-{last}/{len(data)}"})

    def _manifests(self, what: str, query: str, body: bytes) -> None:
        digest = what if what.startswith("sha256:") else self.registry.tags.get(what, "")
        if self.command == "PUT":
            self._put_manifest(what, body)
        elif digest not in self.registry.manifests:
            self._answer(404, oci_error("MANIFEST_UNKNOWN", "manifest unknown"))
        elif self.command == "DELETE":
            if not self.registry.deletes:
                self._answer(405, oci_error("UNSUPPORTED", "The operation is unsupported."))
                return
            if self.registry.keeps_tags and not what.startswith("sha256:"):
                del self.registry.tags[what]
            elif not self.registry.keeps_tags:
                del self.registry.manifests[digest]
                self.registry.tags = {tag: to for tag, to in self.registry.tags.items() if to != digest}
            self._answer(self._status(202))
        else:
            self._answer(200, self.registry.manifests[digest], {"Docker-Content-Digest": digest})

    def _put_manifest(self, what: str, body: bytes) -> None:
        layers = json.loads(body)["layers"]
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        registry = self.registry
        if len(layers) > registry.most_layers or len(body) > registry.most_bytes:
            self._answer(registry.too_large.status, registry.too_large.body, {"Content-Type": registry.too_large.type})
        elif registry.immutable and registry.tags.get(what, digest) != digest:
            self._answer(400, oci_error("TAG_INVALID", f"The image tag '{what}' already exists and is immutable"))
        elif any(layer["digest"] not in registry.blobs or layer["digest"] in registry.gone for layer in layers):
            self._answer(404, oci_error("MANIFEST_BLOB_UNKNOWN", "blob unknown to registry"))
        else:
            if registry.keeps_manifests:
                registry.manifests[digest] = body
                registry.tags |= {} if ":" in what else {what: digest}
            self._answer(self._status(201), headers={"Docker-Content-Digest": digest})

    def _status(self, usual: int) -> int:
        kind = next(name for name in ("uploads", "blobs", "manifests") if f"/{name}/" in self.path)
        return self.registry.statuses.get((self.command, kind), usual)

    def _answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        pass


@contextlib.contextmanager
def strict_registry(registry: StrictRegistry | None = None) -> Iterator[StrictRegistry]:
    """It listens at its `server`."""
    registry = registry or StrictRegistry()
    handler = type("Handler", (_Handler,), {"registry": registry})
    with serving(handler) as port:
        registry.server = Server("http", f"127.0.0.1:{port}", None)  # type: ignore[arg-type]
        yield registry
