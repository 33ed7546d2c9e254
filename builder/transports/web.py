"""Web servers that take PUT as a transport: WebDAV, generic package registries, artifact stores.

BASE/IMAGE/VERSION/{index.json.zst, boot.tar.zst, rootfs.tar.zst, SHA256SUMS, manifest.json}   the manifest last
BASE/IMAGE/VERSION/NAME.sha256        put after NAME arrived whole: the next upload skips it
BASE/IMAGE/channels/TAG.json          which version a tag means
BASE/IMAGE/versions/list.json         what there is, for what is kept
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote, urljoin, urlsplit

from builder.errors import AuditError, InputError, TransferError
from builder.model.artifacts.manifest import BUNDLE, CHECKSUMS, INDEX, MANIFEST, ROOTFS, Manifest
from builder.model.version import Version
from builder.output.given import SIGNATURE
from builder.output.offer import Offer, SignedStatement
from builder.output.versions import parse_manifest
from builder.system.guarded.held import HeldDirectory
from builder.transports.base import Catalog, Options, Pushed, Scheme, TagMove, Transport
from builder.transports.channel_file import CHANNELS, read_channel, write_channel
from builder.transports.http.addresses import check_address
from builder.transports.http.client import HttpClient
from builder.transports.http.credentials import environment_login
from builder.transports.http.faults import TRY_LATER
from builder.transports.http.refusals import RefusedError
from builder.transports.pieces import SMALL, Piece, whole_files
from builder.transports.ranges import Extent
from builder.transports.remote import Blob, RemoteSource, RemoteVersion
from builder.transports.retries import BrokenTransferError, DamagedTransferError, persist
from builder.transports.web_list import LIST, WebList, read_list
from builder.transports.web_reader import WebReader

_MARK = ".sha256"
_CHANGED, _UNKNOWN = 412, 501  # a condition of ours does not hold, or is not understood
_NO_DELETES = "nginx: `dav_methods PUT DELETE`; a package registry has rules of its own for what is kept"
_OWN_RULES = "look at the server's own rules for what is kept"
_SIZE = re.compile("[0-9]{1,19}")


class WebTransport(Transport):
    """Versions below one address."""

    def __init__(self, base: str, options: Options) -> None:
        check_address(base, plain_http=options.plain_http)
        if urlsplit(base).query or urlsplit(base).fragment:
            raise InputError("the address has a query or fragment", "give what a server needs to know as --header")
        self._base = base if base.endswith("/") else f"{base}/"
        self._options = options

    def _client(self) -> HttpClient:
        return HttpClient(self._base, self._options, environment_login(), preset=True)

    def push(self, version: HeldDirectory, manifest: Manifest, moves: Sequence[TagMove]) -> Pushed:
        """Artifacts that are not there with their checksum, the manifest, then the tags."""
        upload = _Upload(self._client(), self._options)
        directory = f"{self._base}{manifest.image}/{manifest.version}/"
        pieces = whole_files(version, manifest)
        here = pieces[-1].part.read()
        there = upload.read(directory + MANIFEST)
        if there is not None and there != here:
            _check_same(directory, there, manifest)
            pieces = []  # packed by another program; it stays, and so does its checksum
            here = there
        sent = [piece for piece in pieces if upload.put(directory, piece, complete=there is not None)]
        # before a channel moves: what is not listed as one would not keep its version
        tags = [move.tag for move in moves]
        upload.change_list(self._list(manifest.image), lambda listed: listed.adding(manifest.version, tags))
        for move in moves:
            url = self._channel(manifest.image, move.tag)
            move.check_document(here, directory)
            upload.move(url, move, write_channel(manifest, here, move.statement))
        size = sum(piece.size for piece in pieces)
        return Pushed(directory + MANIFEST, upload.sent, size, len(sent), len(pieces) - len(sent))

    def statement(self, image: str, tag: str) -> SignedStatement | None:
        """What the file of the channel says."""
        reader = WebReader(self._client(), self._options)
        return _statement_in(reader.read(self._channel(image, tag)))

    def find(self, image: str, name: str) -> Offer:
        """A channel of this name, else a version."""
        return self._offer(self._channel(image, name), f"{self._base}{image}/{name}/{MANIFEST}")

    def _channel(self, image: str, tag: str) -> str:
        return f"{self._base}{image}/{CHANNELS}/{quote(tag)}.json"

    def open(self) -> Offer:
        """The version that this transport's own address names: of a manifest, a directory, or a channel."""
        return self._offer(self._base.rstrip("/") if self._base.endswith(".json/") else self._base + MANIFEST)

    def names(self, image: str) -> tuple[str, ...] | None:
        """A web server has no list that all of them would show."""
        return None

    def catalog(self, image: str) -> Catalog:
        """What uploads of this release listed."""
        reader = WebReader(self._client(), self._options)
        listed = read_list(reader.read(self._list(image)), self._list(image))
        channels: dict[str, Version | None] = {}
        for tag in listed.channels:
            url = self._channel(image, tag)
            body = reader.read(url)
            channel = None if body is None else read_channel(body)
            if body is not None and (channel is None or channel.version is None):
                raise AuditError(f"{url} does not say which version it means", "upload that version again")
            channels[tag] = None if channel is None else channel.version
        return Catalog(listed.versions, channels)

    def remove(self, image: str, version: Version) -> None:
        """The manifest first: without it there is no version."""
        upload, directory = _Upload(self._client(), self._options), f"{self._base}{image}/{version}/"
        names = (MANIFEST, SIGNATURE, CHECKSUMS, INDEX, BUNDLE, ROOTFS)
        for name in (*names, *(f"{name}{_MARK}" for name in (INDEX, BUNDLE, ROOTFS)), ""):
            upload.delete(directory + name)
        if upload.read(directory + MANIFEST) is not None:
            raise TransferError(f"{directory} was removed, and is there still", _OWN_RULES)
        upload.change_list(self._list(image), lambda listed: listed.without(version))

    def _list(self, image: str) -> str:
        return f"{self._base}{image}/{LIST}"

    def _offer(self, *urls: str) -> Offer:
        """The version at the first address where something is; read once, so that a channel that moves is harmless."""
        reader = WebReader(self._client(), self._options)
        found = persist(lambda: reader.find_manifest(urls), self._options.retries)
        url, artifacts = found.url, found.manifest.artifacts
        signature = reader.read(urljoin(url, SIGNATURE))
        files = {
            name: [Blob(urljoin(url, name), artifacts[name].size, artifacts[name].sha256)] for name in (INDEX, BUNDLE)
        }
        archive = [Extent(0, artifacts[ROOTFS].size, urljoin(url, ROOTFS))]
        place = RemoteVersion(url, hashlib.sha256(found.data).hexdigest(), artifacts, files, archive)
        source = RemoteSource(reader.client, place, self._options)
        return Offer(source, found.data, found.manifest, signature, found.asked, found.statement)


class _Upload:
    """Puts files on one server."""

    def __init__(self, client: HttpClient, options: Options) -> None:
        self._client = client
        self._options = options
        self._reader = WebReader(client, options)

    @property
    def sent(self) -> int:
        """Bytes of bodies so far."""
        return self._client.sent.moved

    def read(self, url: str) -> bytes | None:
        """A small file that is there, or None."""
        return self._reader.read(url)

    def put(self, directory: str, piece: Piece, *, complete: bool) -> bool:
        """Puts a file unless it is there; whether it was put. `complete`: the manifest is there, so everything is."""
        url = directory + piece.name
        if piece.name in SMALL:
            data = piece.part.read()
            if (complete or piece.name == SIGNATURE) and self.read(url) == data:
                return False
            self.put_bytes(url, data)
            return True
        self._client.sent.expect(piece.size)
        mark = f"{piece.sha256}  {piece.name}\n".encode()
        if self._size_of(url) == piece.size and (complete or self.read(url + _MARK) == mark):
            self._client.sent.expect(-piece.size)
            return False
        self._put(url, piece)
        self.put_bytes(url + _MARK, mark)
        return True

    def move(self, url: str, move: TagMove, data: bytes) -> None:
        """Makes `data` the file of a channel; TransferError where another upload moved it meanwhile.

        A server that knows conditions (RFC 9110 section 13.1) refuses the second of two; else reading it again tells.
        """
        was_put = False

        def put() -> None:
            nonlocal was_put
            there, condition = self._reader.read_to_replace(url)
            if there == data:
                return
            statement = _statement_in(there)
            if not (was_put and statement in (None, move.statement)):  # that is ours, spoiled on the way
                move.check_before(statement)
            if self._make_and_put(url, data, condition) == _CHANGED:
                if self._reader.read_once(url) != there:
                    raise move.refusal()
                self._make_and_put(url, data)  # its tags do not tell one file from another
            was_put = True
            self._check_put(url, data)

        persist(put, self._options.retries)

    def change_list(self, url: str, change: Callable[[WebList], WebList]) -> None:
        """Makes of the list there what it should be; another upload that changes it meanwhile is waited for."""

        def put() -> None:
            there, condition = self._reader.read_to_replace(url)
            listed = read_list(there, url)
            data = change(listed).to_json()
            if data == there or (there is None and change(listed) == listed):
                return
            if self._make_and_put(url, data, condition) == _CHANGED:
                if self._reader.read_once(url) != there:
                    raise BrokenTransferError(f"another upload changed {url}", TRY_LATER)
                self._make_and_put(url, data)  # its tags do not tell one file from another
            self._check_put(url, data)

        persist(put, self._options.retries)

    def delete(self, url: str) -> None:
        """Removes a file, or an empty directory where the server has any; TransferError, with what to enable."""
        is_directory = url.endswith("/")
        accept = range(200, 600) if is_directory else (200, 202, 204, 404)
        try:
            persist(lambda: self._client.call("DELETE", url, accept=accept), self._options.retries)
        except RefusedError as error:
            raise TransferError(error.message, _NO_DELETES if error.status in (405, 501) else error.hint) from error

    def put_bytes(self, url: str, data: bytes) -> None:
        """Puts a small file and reads it again."""

        def put() -> None:
            self._make_and_put(url, data)
            self._check_put(url, data)

        persist(put, self._options.retries)

    def _check_put(self, url: str, data: bytes) -> None:
        if self._reader.read_once(url) != data:
            raise DamagedTransferError(f"{url} is not what was put there", "the server or the network changes it")

    def _put(self, url: str, piece: Piece) -> None:
        def put() -> None:
            self._make_and_put(url, piece)
            # nothing on the way can change what goes through TLS; else only reading it again tells
            size = self._size_of(url) if url.startswith("https:") else None
            arrived = self._digest_of(url, piece.size) == piece.sha256 if size is None else size == piece.size
            if not arrived:
                raise DamagedTransferError(f"{url} is not what was put there", "the server or the network changes it")

        persist(put, self._options.retries)

    def _make_and_put(self, url: str, body: Piece | bytes, condition: Mapping[str, str] | None = None) -> int:
        """PUT; where the directory may be missing that is made first. The status: of success, or _CHANGED.

        A server that knows no conditions is asked without one.

        WebDAV answers 409 then (RFC 4918 section 9.7.1), nginx 500 without create_full_put_path.
        """
        data = body if isinstance(body, bytes) else body.part
        headers = {"Content-Type": "application/octet-stream", **(condition or {})}
        done = (200, 201, 202, 204, *((_CHANGED, _UNKNOWN) if condition else ()))
        status, _, _ = self._client.call("PUT", url, headers=headers, body=data, accept=(*done, 404, 409, 500))
        if status not in done:
            self._make_directories(url)
            status, _, _ = self._client.call("PUT", url, headers=headers, body=data, accept=done)
        return self._make_and_put(url, body) if condition and status == _UNKNOWN else status

    def _make_directories(self, url: str) -> None:
        """Every directory above a file, from the top; whether that was of use the next PUT tells."""
        parts = urlsplit(url)
        names = parts.path.split("/")[1:-1]
        for count in range(1, len(names) + 1):
            path = "/".join(names[:count])
            self._client.call("MKCOL", f"{parts.scheme}://{parts.netloc}/{path}/", accept=range(200, 600))

    def _size_of(self, url: str) -> int | None:
        """None where it is not there, or the server does not say."""

        def head() -> int | None:
            status, headers, _ = self._client.call("HEAD", url, accept=(200, 404, 405, 501))
            size = headers.get("Content-Length", "")
            return int(size) if status == 200 and _SIZE.fullmatch(size) else None

        return persist(head, self._options.retries)

    def _digest_of(self, url: str, size: int) -> str:
        """Of what is there, or of a beginning that is longer than `size`."""
        digest = hashlib.sha256()
        with self._client.open("GET", url) as answer:
            for piece in answer.pieces():
                digest.update(piece)
                size -= len(piece)
                if size < 0:
                    break
        return digest.hexdigest()


def _statement_in(body: bytes | None) -> SignedStatement | None:
    channel = None if body is None else read_channel(body)
    return None if channel is None else channel.statement


def _check_same(directory: str, there: bytes, manifest: Manifest) -> None:
    if parse_manifest(there, directory + MANIFEST).root_digest != manifest.root_digest:
        raise AuditError(f"{directory} has another version whose digest begins alike", "remove it there")


WEB = Scheme(
    ("https://", "http://"),
    "https://HOST/PATH",
    lambda reference, options: WebTransport(reference, options).open(),
    lambda target, options: (WebTransport(target, options), ()),
)
