"""Small files on a web server: manifests, channels, and where a channel leads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from urllib.parse import urljoin

from builder.errors import AuditError, TransferError
from builder.model.artifacts.manifest import CHECKSUMS, MANIFEST, Manifest
from builder.output.versions import parse_manifest
from builder.transports.base import Options
from builder.transports.http.client import HttpClient
from builder.transports.retries import DamagedTransferError, persist

_LARGEST_MANIFEST = 64 << 20
_AGAIN = "upload the version again"


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

    def find_manifest(self, urls: Iterable[str]) -> tuple[str, bytes, Manifest]:
        """The address and bytes of the manifest that the first file there is, or that it leads to as a channel; parsed.

        DamagedTransferError where it is not what channel or checksums say.
        """
        for url in urls:
            body = self.read_once(url)
            if body is not None:
                channel = read_channel(body)
                return self._follow(url, *channel) if channel is not None else (url, body, self._checked(url, body))
        raise TransferError(f"there is no version at {url}", "check the image's name and the tag")

    def _follow(self, url: str, target: str, sha256: str) -> tuple[str, bytes, Manifest]:
        manifest = urljoin(url, target)
        body = self.read_once(manifest)
        if body is None or hashlib.sha256(body).hexdigest() != sha256:
            raise DamagedTransferError(f"{manifest} is not what {url} says", _AGAIN)
        return manifest, body, parse_manifest(body, manifest)

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


def read_channel(body: bytes) -> tuple[str, str] | None:
    """Where a channel leads, and the SHA-256 of the manifest there; None for anything else."""
    try:
        content = json.loads(body)
        target, sha256 = content["manifest"], content["sha256"]
    except (ValueError, KeyError, TypeError):
        return None
    if not (isinstance(target, str) and isinstance(sha256, str) and content.get("schema") == 1):
        return None
    return target, sha256
