"""One repository of an OCI registry: manifests, tags, and which blobs are there.

Source: the OCI distribution specification 1.1. What Debian's docker-registry does in particular is in the tests.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from builder.errors import TransferError
from builder.model.artifacts.channel import TAG
from builder.model.typed import parse_json
from builder.transports.base import Options
from builder.transports.http.addresses import led_to
from builder.transports.http.client import HttpClient
from builder.transports.http.credentials import registry_login
from builder.transports.oci.document import MANIFEST_TYPE
from builder.transports.retries import DamagedTransferError, persist

_LARGEST_MANIFEST = 4 << 20  # bytes, as registries have it
_NEXT = re.compile(r'<([^<>]{1,2048})>\s{0,8};\s{0,8}rel="?next"?')
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MOST_PAGES, _MOST_TAGS = 100, 100_000


class MissingBlobError(TransferError):
    """The registry lacks a blob that a manifest names."""


class Registry:
    """Speaks to one repository."""

    def __init__(self, host: str, repository: str, options: Options, *, scheme: str, write: bool = False) -> None:
        self.base = f"{scheme}://{host}/v2/{repository}/"
        self._options = options
        scope = f"repository:{repository}:pull" + (",push" if write else "")
        self.client = HttpClient(self.base, options, registry_login(host, repository), preset=False, scope=scope)

    def blob_address(self, digest: str) -> str:
        """Where a blob is read."""
        return f"{self.base}blobs/{digest}"

    def resolve(self, reference: str) -> str | None:
        """The digest that a tag means now; None where there is no such tag or the registry does not say."""
        status, headers, _ = self._call("HEAD", f"manifests/{reference}", headers={"Accept": MANIFEST_TYPE})
        digest = headers.get("Docker-Content-Digest", "")
        return digest if status == 200 and _DIGEST.fullmatch(digest) else None

    def manifest(self, reference: str) -> bytes | None:
        """The manifest under a tag or digest; None where there is none, DamagedTransferError where it is another."""

        def fetch() -> bytes | None:
            status, headers, body = self.client.call(
                "GET",
                f"{self.base}manifests/{reference}",
                headers={"Accept": MANIFEST_TYPE},
                accept=(200, 404),
                most=_LARGEST_MANIFEST,
            )
            if status == 404:
                return None
            digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
            wanted = reference if ":" in reference else headers.get("Docker-Content-Digest", digest)
            if digest != wanted:
                raise DamagedTransferError(f"{reference} has the digest {digest}", "upload the version again")
            return body

        return persist(fetch, self._options.retries)

    def put_manifest(self, reference: str, document: bytes) -> None:
        """Gives a manifest a tag that it may have already; MissingBlobError where a blob that it names is missing."""
        if self.resolve(reference) == f"sha256:{hashlib.sha256(document).hexdigest()}":
            return

        def put() -> None:
            status, headers, body = self.client.call(
                "PUT",
                f"{self.base}manifests/{reference}",
                headers={"Content-Type": MANIFEST_TYPE},
                body=document,
                accept=(201, 400, 404),
            )
            if status == 201:
                check_digest(headers, hashlib.sha256(document).hexdigest())
            elif b"BLOB_UNKNOWN" in body:
                raise MissingBlobError("the registry lacks a blob that this version shares with another", None)
            elif status == 400:  # bytes that changed on their way are not JSON, or other JSON
                raise DamagedTransferError(f"the registry takes no manifest as {reference}", "is it an OCI registry?")
            else:
                raise TransferError(f"there is no such repository to put {reference} into", "check the name")

        persist(put, self._options.retries)

    def tags(self) -> tuple[str, ...]:
        """All tags, sorted, as far as anybody waits for them; () where there is no such repository."""
        found: list[str] = []
        path = "tags/list"
        seen = {""}
        while path not in seen and len(seen) <= _MOST_PAGES and len(found) < _MOST_TAGS:  # it may lead back to itself
            seen.add(path)
            status, headers, body = self._call("GET", path)
            if status != 200:
                break
            found += _tags_in(body)
            following = _NEXT.search(headers.get("Link", ""))
            path = following[1] if following else ""
        return tuple(sorted(found))

    def has_blob(self, sha256: str) -> bool:
        """Whether the repository has a blob."""
        return self._call("HEAD", f"blobs/sha256:{sha256}")[0] == 200

    def _call(
        self, method: str, path: str, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        def call() -> tuple[int, Mapping[str, str], bytes]:
            url = led_to(self.base, path)
            return self.client.call(method, url, headers=headers, accept=(200, 404), most=_LARGEST_MANIFEST)

        return persist(call, self._options.retries)


def check_digest(headers: Mapping[str, str], sha256: str) -> None:
    """DamagedTransferError where the registry says that it has something else than what was sent."""
    digest = headers.get("Docker-Content-Digest", f"sha256:{sha256}")
    if digest != f"sha256:{sha256}":
        raise DamagedTransferError(
            f"the registry got {digest}, not sha256:{sha256}", "the network changes what it carries"
        )


def _tags_in(body: bytes) -> list[str]:
    try:
        tags = parse_json(body)["tags"] or []
        return [tag for tag in tags if isinstance(tag, str) and TAG.accepts(tag)]
    except (ValueError, KeyError, TypeError) as error:
        raise TransferError("the registry's list of tags cannot be read", "is it an OCI registry?") from error
