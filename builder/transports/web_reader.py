"""Small files on a web server: manifests, channels, and where a channel leads."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote, urljoin, urlsplit

from builder.errors import AuditError, TransferError
from builder.model.artifacts.manifest import CHECKSUMS, MANIFEST, Manifest
from builder.model.version import VERSION, Version
from builder.output.offer import Asked, SignedStatement
from builder.output.versions import parse_manifest
from builder.transports.base import Options
from builder.transports.channel_file import CHANNELS, ChannelFile, read_channel
from builder.transports.http.addresses import led_to
from builder.transports.http.client import HttpClient
from builder.transports.retries import DamagedTransferError, persist

_LARGEST_MANIFEST = 16 << 20
_AGAIN = "upload the version again"
_ENDING = ".json"
_STRONG_TAG = re.compile(r'"[\x21\x23-\x7e]{0,200}"')  # RFC 9110 section 8.8.3; a weak one matches nothing


@dataclass(frozen=True)
class FoundManifest:
    """A manifest on a web server: its address, its bytes, what was asked for, and what the channel on the way says."""

    url: str
    data: bytes
    manifest: Manifest
    asked: Asked
    statement: SignedStatement | None = None


class WebReader:
    """Reads from one server."""

    def __init__(self, client: HttpClient, options: Options) -> None:
        self.client = client
        self._options = options

    def read(self, url: str) -> bytes | None:
        """A small file, or None where it is not there."""
        return persist(lambda: self.read_once(url), self._options.retries)

    def read_once(self, url: str) -> bytes | None:
        """The same, at the first attempt or never."""
        status, _, body = self.client.call("GET", url, accept=(200, 404), most=_LARGEST_MANIFEST)
        return body if status == 200 else None

    def read_to_replace(self, url: str) -> tuple[bytes | None, dict[str, str]]:
        """The same, and the headers of a PUT that replaces just this; none where the server does not tell versions."""
        status, headers, body = self.client.call("GET", url, accept=(200, 404), most=_LARGEST_MANIFEST)
        if status != 200:
            return None, {"If-None-Match": "*"}
        tag = headers.get("ETag", "")
        return body, {"If-Match": tag} if _STRONG_TAG.fullmatch(tag) else {}

    def find_manifest(self, urls: Iterable[str]) -> FoundManifest:
        """The manifest that the first file there is, or that it leads to as a channel.

        DamagedTransferError where it is not what channel or checksums say.
        """
        for url in urls:
            body = self.read_once(url)
            if body is not None:
                channel = read_channel(body)
                if channel is not None:
                    return self._follow(url, channel)
                return FoundManifest(url, body, self._checked(url, body), named_by(url, is_channel=False))
        raise TransferError(f"there is no version at {url}", "check the image's name and the tag")

    def _follow(self, url: str, channel: ChannelFile) -> FoundManifest:
        address = led_to(url, channel.manifest)
        body = self.read_once(address)
        if body is None or hashlib.sha256(body).hexdigest() != channel.sha256:
            raise DamagedTransferError(f"{address} is not what {url} says", _AGAIN)
        asked = named_by(url, is_channel=True)
        return FoundManifest(address, body, parse_manifest(body, address), asked, channel.statement)

    def _checked(self, url: str, body: bytes) -> Manifest:
        """What comes without TLS and without a digest must make sense, and is compared with the checksums beside it."""
        is_plain = url.startswith("http:")
        try:
            manifest = parse_manifest(body, url)
        except AuditError as error:
            if not is_plain:
                raise
            raise DamagedTransferError(error.message, "is this the address of a manifest.json?") from error
        sums = self.read_once(urljoin(url, CHECKSUMS)) if is_plain else None
        line = f"{hashlib.sha256(body).hexdigest()}  {MANIFEST}\n".encode()
        if sums and line not in sums:
            raise DamagedTransferError(f"{url} is not what {CHECKSUMS} says", _AGAIN)
        return manifest


def named_by(url: str, *, is_channel: bool) -> Asked:
    """What an address names: .../IMAGE/VERSION/manifest.json, or .../IMAGE/channels/TAG.json.

    A channel that lies elsewhere is one all the same, called by its file's name; a manifest that lies elsewhere was
    named by nobody, so that anything may come to be there: it is a channel too. A version's name is of its digest, so
    it is of no other image, however the directory above is called.
    """
    parts = [unquote(part) for part in urlsplit(url).path.split("/")]
    *_, image, directory, name = ["", "", "", *parts]
    tag = name.removesuffix(_ENDING)
    if directory == CHANNELS:
        return Asked(url, image, tag=tag)
    if is_channel or not VERSION.accepts(directory):
        return Asked(url, tag=tag if is_channel else directory or tag)
    return Asked(url, version=Version(directory))
