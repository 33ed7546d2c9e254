"""Web servers that take PUT as a transport: WebDAV, generic package registries, artifact stores.

BASE/IMAGE/VERSION/{index.json.zst, boot.tar.zst, rootfs.tar.zst, SHA256SUMS, manifest.json}   the manifest last
BASE/IMAGE/VERSION/NAME.sha256        put after NAME arrived whole: the next upload skips it
BASE/IMAGE/channels/TAG.json          which version a tag means
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, urljoin, urlsplit

from builder.errors import AuditError, InputError, TransferError
from builder.model.manifest import BUNDLE, INDEX, MANIFEST, ROOTFS, Manifest
from builder.model.syntax import IMAGE_NAME
from builder.system.source import SIGNATURE, Source
from builder.transports.base import Options, Pushed, Transport
from builder.transports.client import Client
from builder.transports.credentials import environment_login
from builder.transports.pieces import SMALL, Piece, whole_files
from builder.transports.ranges import Extent
from builder.transports.remote import Place, RemoteSource
from builder.transports.retries import DamagedTransferError, persist

CHANNELS = "channels"
_LARGEST_MANIFEST = 64 << 20
_MARK = ".sha256"


class WebTransport(Transport):
    """Versions below one address."""

    def __init__(self, base: str, options: Options) -> None:
        if urlsplit(base).query or urlsplit(base).fragment:
            raise InputError("the address has a query or fragment", "give what a server needs to know as --header")
        self._base = base if base.endswith("/") else f"{base}/"
        self._options = options

    def _client(self) -> Client:
        return Client(self._base, self._options, environment_login(), preset=True)

    def push(self, version: Path, manifest: Manifest, tags: Sequence[str]) -> Pushed:
        """Artifacts that are not there with their checksum, the manifest, then the tags."""
        upload = _Upload(self._client(), self._options)
        directory = f"{self._base}{manifest.image}/{manifest.version}/"
        pieces = whole_files(version, manifest)
        here = pieces[-1].part.path.read_bytes()
        there = upload.read(directory + MANIFEST)
        if there is not None and there != here:
            _check_same(directory, there, manifest)
            pieces = []  # packed by another program; it stays, and so does its checksum
            here = there
        sent = [piece for piece in pieces if upload.put(directory, piece, complete=there is not None)]
        for tag in tags:
            upload.put_bytes(f"{self._base}{manifest.image}/{CHANNELS}/{quote(tag)}.json", _channel(manifest, here))
        size = sum(piece.size for piece in pieces)
        return Pushed(directory + MANIFEST, upload.sent, size, len(sent), len(pieces) - len(sent))

    def find(self, image: str, name: str) -> Source:
        """A version by its directory, any other name by its channel."""
        client = self._client()
        direct = f"{self._base}{image}/{name}/{MANIFEST}"
        channel = f"{self._base}{image}/{CHANNELS}/{quote(name)}.json"
        body = _get(client, channel, self._options)
        if body is None:
            body, channel = _get(client, direct, self._options), direct
        return self._source(client, channel, body)

    def open(self) -> Source:
        """The version that this transport's own address names: of a manifest, a directory, or a channel."""
        client = self._client()
        url = self._base.rstrip("/") if self._base.endswith(".json/") else self._base + MANIFEST
        return self._source(client, url, _get(client, url, self._options))

    def names(self, image: str) -> tuple[str, ...] | None:
        """A web server has no list that all of them would show."""
        return None

    def _source(self, client: Client, url: str, body: bytes | None) -> Source:
        if body is None:
            raise TransferError(f"there is no version at {url}", "check the image's name and the tag")
        channel = _read_channel(body)
        if channel is not None:
            target, sha256 = channel
            url = urljoin(url, target)
            body = _get(client, url, self._options, sha256)
            if body is None:
                raise TransferError(f"the channel leads to {url}, where nothing is", "upload the version again")
        signature = _get(client, urljoin(url, SIGNATURE), self._options)
        files = {name: urljoin(url, name) for name in (INDEX, BUNDLE)}
        archive = [Extent(0, _archive_size(body, url), urljoin(url, ROOTFS))]
        return RemoteSource(client, Place(url, body, signature, files, archive), self._options)


class _Upload:
    """Puts files on one server."""

    def __init__(self, client: Client, options: Options) -> None:
        self._client = client
        self._options = options

    @property
    def sent(self) -> int:
        """Bytes of bodies so far."""
        return self._client.sent.moved

    def read(self, url: str) -> bytes | None:
        """A small file that is there, or None."""
        return _get(self._client, url, self._options)

    def put(self, directory: str, piece: Piece, *, complete: bool) -> bool:
        """Puts a file unless it is there; whether it was put. `complete`: the manifest is there, so everything is."""
        url = directory + piece.name
        if piece.name in SMALL:
            data = piece.part.path.read_bytes()
            if (complete or piece.name == SIGNATURE) and self.read(url) == data:
                return False
            self.put_bytes(url, data)
            return True
        mark = f"{piece.sha256}  {piece.name}\n".encode()
        if self._size_of(url) == piece.size and self.read(url + _MARK) == mark:
            return False
        self._put(url, piece)
        self.put_bytes(url + _MARK, mark)
        return True

    def put_bytes(self, url: str, data: bytes) -> None:
        """Puts a small file and reads it again."""

        def put() -> None:
            self._make_and_put(url, data)
            if _get_once(self._client, url) != data:
                raise DamagedTransferError(f"{url} is not what was put there", "the server or the network changes it")

        persist(put, self._options.retries)

    def _put(self, url: str, piece: Piece) -> None:
        def put() -> None:
            self._make_and_put(url, piece)
            # nothing on the way can change what goes through TLS; else only reading it again tells
            size = self._size_of(url) if url.startswith("https:") else None
            arrived = self._digest_of(url) == piece.sha256 if size is None else size == piece.size
            if not arrived:
                raise DamagedTransferError(f"{url} is not what was put there", "the server or the network changes it")

        persist(put, self._options.retries)

    def _make_and_put(self, url: str, body: Piece | bytes) -> None:
        """PUT; where its directory is missing (409 of WebDAV, RFC 4918 section 9.7.1) that is made first."""
        data = body if isinstance(body, bytes) else body.part
        headers = {"Content-Type": "application/octet-stream"}
        done = (200, 201, 202, 204)
        status, _, _ = self._client.call("PUT", url, headers=headers, body=data, accept=(*done, 404, 409))
        if status not in done:
            self._make_directories(url)
            self._client.call("PUT", url, headers=headers, body=data, accept=done)

    def _make_directories(self, url: str) -> None:
        """IMAGE and IMAGE/VERSION; the base is the server's own."""
        directory = url.rpartition("/")[0]
        for path in (directory.rpartition("/")[0], directory):
            self._client.call("MKCOL", f"{path}/", accept=(200, 201, 204, 301, 405, 409))

    def _size_of(self, url: str) -> int | None:
        """None where it is not there, or the server does not say."""

        def head() -> int | None:
            status, headers, _ = self._client.call("HEAD", url, accept=(200, 404, 405, 501))
            size = headers.get("Content-Length", "")
            return int(size) if status == 200 and size.isdecimal() else None

        return persist(head, self._options.retries)

    def _digest_of(self, url: str) -> str:
        digest = hashlib.sha256()
        with self._client.open("GET", url) as answer:
            for piece in answer.pieces():
                digest.update(piece)
        return digest.hexdigest()


def _get(client: Client, url: str, options: Options, sha256: str | None = None) -> bytes | None:
    def get() -> bytes | None:
        body = _get_once(client, url)
        if body is not None and sha256 is not None and hashlib.sha256(body).hexdigest() != sha256:
            raise DamagedTransferError(f"{url} is not what the channel says", "upload the version again")
        return body

    return persist(get, options.retries)


def _get_once(client: Client, url: str) -> bytes | None:
    status, _, body = client.call("GET", url, accept=(200, 404), most=_LARGEST_MANIFEST)
    return body if status == 200 else None


def _channel(manifest: Manifest, document: bytes) -> bytes:
    target = f"../{manifest.version}/{MANIFEST}"
    content = {"schema": 1, "manifest": target, "sha256": hashlib.sha256(document).hexdigest()}
    return json.dumps(content, indent=1, sort_keys=True).encode() + b"\n"


def _read_channel(body: bytes) -> tuple[str, str] | None:
    """Where a channel leads, and the digest of the manifest there; None for anything else."""
    try:
        content = json.loads(body)
        target, sha256 = content["manifest"], content["sha256"]
    except (ValueError, KeyError, TypeError):
        return None
    if not (isinstance(target, str) and isinstance(sha256, str) and content.get("schema") == 1):
        return None
    return target, sha256


def _check_same(directory: str, there: bytes, manifest: Manifest) -> None:
    try:
        digest = Manifest.from_json(there.decode("utf-8")).root_digest
    except ValueError as error:
        raise AuditError(f"{directory}{MANIFEST} is no manifest", "remove it there") from error
    if digest != manifest.root_digest:
        raise AuditError(f"{directory} has another version whose digest begins alike", "remove it there")


def _archive_size(body: bytes, url: str) -> int:
    try:
        manifest = Manifest.from_json(body.decode("utf-8"))
    except ValueError as error:
        raise AuditError(f"{url}: {error}", "is this the address of a version's manifest.json?") from error
    assert IMAGE_NAME.accepts(manifest.image)
    return manifest.artifacts[ROOTFS].size
