"""One repository of an OCI registry: manifests, tags, and which blobs are there.

Source: the OCI distribution specification 1.1. What Debian's docker-registry does in particular is in the tests.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace

from builder.errors import TransferError
from builder.model.artifacts.channel import TAG
from builder.model.typed import parse_json
from builder.transports.base import Options
from builder.transports.http.addresses import led_to
from builder.transports.http.client import HttpClient
from builder.transports.http.credentials import registry_login
from builder.transports.http.refusals import RefusedError
from builder.transports.oci.document import MANIFEST_TYPE
from builder.transports.oci.limits import may_be_damaged
from builder.transports.retries import BrokenTransferError, DamagedTransferError, persist

# of a PUT, PATCH or DELETE: registries differ in which they give for what
DONE = (200, 201, 202, 204)
_NO_DELETES = (
    "docker-registry: `storage: {delete: {enabled: true}}` in its configuration; others have rules of their own for "
    "what is kept: leave --keep and --keep-days out there"
)
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
        """Gives a manifest a tag that it may have already, and reads it back.

        MissingBlobError where a blob that it names is missing, RefusedError where the registry does not take it,
        TransferError where it took it and has another or none.
        """
        digest = f"sha256:{hashlib.sha256(document).hexdigest()}"
        if self.resolve(reference) == digest and self.manifest(digest) == document:
            return
        try:
            persist(lambda: self._put_manifest(reference, document), self._options.retries)
        except DamagedTransferError as error:
            if isinstance(error.__cause__, RefusedError):
                raise error.__cause__ from None
            raise
        for name in dict.fromkeys((digest, reference)):
            try:
                persist(functools.partial(self._look_at, name, digest), self._options.retries)
            except DamagedTransferError as error:
                raise TransferError(error.message, error.hint) from None

    def _put_manifest(self, reference: str, document: bytes) -> None:
        url, headers = f"{self.base}manifests/{reference}", {"Content-Type": MANIFEST_TYPE}
        try:
            _, answered, _ = self.client.call("PUT", url, headers=headers, body=document, accept=DONE)
        except RefusedError as error:
            if any(code.endswith("BLOB_UNKNOWN") for code in error.codes):
                raise MissingBlobError(
                    "the registry lacks a blob that this version shares with another", None
                ) from error
            if may_be_damaged(error) and self.base.startswith("http:"):  # through TLS nothing changes on its way
                raise DamagedTransferError(error.message, error.hint) from error
            raise
        check_digest(answered, hashlib.sha256(document).hexdigest())

    def _look_at(self, reference: str, digest: str) -> None:
        if reference != digest and self.resolve(reference) == digest:
            return
        data = self.manifest(reference)
        there = None if data is None else f"sha256:{hashlib.sha256(data).hexdigest()}"
        if there != digest:
            message = f"the registry took the manifest {digest} and does not have it as {reference}"
            seen = "nothing is there" if there is None else f"{there} is there"
            hint = "was its garbage collected while it ran? restart it, and upload again"
            hint = hint if there is None else "does another upload move that tag? look what it means now"
            raise DamagedTransferError(f"{message}: {seen}", hint)

    def delete_manifest(self, reference: str) -> None:
        """Removes a manifest by its digest, or a tag; TransferError, with what to enable, where that is refused."""

        def delete() -> None:
            self.client.call("DELETE", f"{self.base}manifests/{reference}", accept=(*DONE, 404))

        try:
            persist(delete, self._options.retries)
        except RefusedError as error:
            if error.status in (405, 501) or "UNSUPPORTED" in error.codes:
                raise TransferError(error.message, _NO_DELETES) from error
            raise

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

    def has_blob(self, sha256: str, size: int) -> bool:
        """Whether the repository has a blob of this size and gives it: some say of one that is gone that it is there.

        Its first byte is asked for; what garbage collection left of a registry's memory is not enough for that. Where
        it cannot be had it is not there: whoever sends it learns more.
        """
        address, headers = self.blob_address(f"sha256:{sha256}"), {"Range": "bytes=0-0"}

        def ask() -> bool:
            with self.client.open("GET", address, headers=headers, accept=(200, 206, 404, 410, 416)) as answer:
                if answer.status not in (200, 206):
                    return False
                length = answer.headers.get("Content-Length", "")
                said = answer.headers.get("Content-Range", f"/{length}").rpartition("/")[2]
                return said in (str(size), "*", "") and next(answer.pieces(), b"") != b""

        try:
            return persist(ask, replace(self._options.retries, attempts=min(2, self._options.retries.attempts)))
        except BrokenTransferError:
            return False

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
            f"the registry got {digest}, not sha256:{sha256}", "something on the way changes what it carries"
        )


def _tags_in(body: bytes) -> list[str]:
    try:
        tags = parse_json(body)["tags"] or []
        return [tag for tag in tags if isinstance(tag, str) and TAG.accepts(tag)]
    except (ValueError, KeyError, TypeError) as error:
        raise TransferError("the registry's list of tags cannot be read", "is it an OCI registry?") from error
