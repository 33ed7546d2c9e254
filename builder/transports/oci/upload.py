"""Sending blobs to a registry: at once, or in chunks that the next attempt or the next process continues.

Source: the OCI distribution specification 1.1, "Pushing blobs". An upload's address changes with every answer and may
hold a secret; it is kept in a file that only its user can read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace

from builder.errors import TransferError
from builder.transports.base import Options
from builder.transports.http.addresses import led_to
from builder.transports.http.client import Body
from builder.transports.http.faults import TRY_LATER
from builder.transports.http.refusals import RefusedError
from builder.transports.kept import open_kept
from builder.transports.oci.registry import DONE, Registry, check_digest
from builder.transports.pieces import Piece
from builder.transports.retries import BrokenTransferError, DamagedTransferError, PassingError, persist

CHUNK = 4 << 20
_MOST_SESSIONS = 256
_OCTETS = {"Content-Type": "application/octet-stream"}
_HELD = re.compile(r"(?:bytes=)?0-([0-9]{1,19})")
_LOST = (404, 410, 416)  # the registry forgot the upload, or has another length of it
_OTHER_LOSS = frozenset({"NAME_UNKNOWN", "NAME_INVALID", "DENIED", "UNAUTHORIZED"})
_OTHER_BYTES = frozenset({"DIGEST_INVALID", "SIZE_INVALID", "BLOB_UPLOAD_INVALID"})


def _lost(error: RefusedError, kind: type[PassingError]) -> PassingError | None:
    """What to raise where an upload was forgotten; None where it was refused for another reason."""
    if error.status not in _LOST or _OTHER_LOSS & set(error.codes):
        return None
    said = f" ({error.status}: {error.said})" if error.said else f" ({error.status})"
    return kind(f"the registry lost the upload{said}", TRY_LATER)


class BlobSender:
    """Sends blobs to one repository; may be used by several threads."""

    def __init__(self, registry: Registry, options: Options) -> None:
        self._registry = registry
        self._client = registry.client
        self._retries = options.retries
        self._sessions = open_kept(options, "uploads")
        self._sessions.prune(_MOST_SESSIONS)

    def send_bytes(self, data: bytes) -> None:
        """A blob from memory."""
        sha256 = hashlib.sha256(data).hexdigest()
        persist(lambda: self._finish(self._start(), data, sha256), self._retries)

    def send(self, piece: Piece) -> None:
        """A blob from a file."""
        if piece.size <= CHUNK:
            persist(lambda: self._finish(self._start(), piece.part, piece.sha256), self._retries)
            return
        done = [0]
        persist(lambda: self._send_chunks(piece, done), self._retries, lambda: done[0])
        self._forget(piece)

    def _send_chunks(self, piece: Piece, done: list[int]) -> None:
        """Sends what the registry lacks; `done[0]` is how many bytes it has."""
        address, done[0] = self._resume(piece)
        while done[0] < piece.size:
            count = min(CHUNK, piece.size - done[0])
            part = replace(piece.part, offset=piece.part.offset + done[0], size=count)
            span = {"Content-Range": f"{done[0]}-{done[0] + count - 1}"}
            try:
                _, headers, _ = self._client.call("PATCH", address, headers={**_OCTETS, **span}, body=part, accept=DONE)
            except RefusedError as error:
                raise _lost(error, BrokenTransferError) or error from None
            address = self._location(headers, address)
            self._remember(piece, address)
            done[0] += count
        try:
            self._finish(address, b"", piece.sha256)
        except DamagedTransferError:
            self._forget(piece)
            raise

    def _resume(self, piece: Piece) -> tuple[str, int]:
        """The address of the upload that was begun and what it has, or of a new one."""
        kept = self._remembered(piece)
        if kept is not None:
            status, headers, _ = self._client.call("GET", kept, accept=(200, 202, 204, 400, 401, 403, *_LOST))
            held = _HELD.fullmatch(headers.get("Range", ""))
            size = int(held[1]) + 1 if held and held[1] != "0" else 0
            if status in (202, 204) and size <= piece.size:
                return self._location(headers, kept), size
        address = self._start()
        self._remember(piece, address)
        return address, 0

    def _start(self) -> str:
        url = f"{self._registry.base}blobs/uploads/"
        _, headers, _ = self._client.call("POST", url, body=b"", accept=DONE)
        return self._location(headers, url)

    def _finish(self, address: str, body: Body, sha256: str) -> None:
        """Ends an upload with its last bytes; DamagedTransferError where the registry got others."""
        url = f"{address}{'&' if '?' in address else '?'}digest=sha256:{sha256}"
        try:
            _, headers, _ = self._client.call("PUT", url, headers=_OCTETS, body=body, accept=DONE)
        except RefusedError as error:
            if _OTHER_BYTES & set(error.codes):
                raise DamagedTransferError(error.message, "something on the way changes what it carries") from None
            raise _lost(error, DamagedTransferError) or error from None
        check_digest(headers, sha256)

    def _location(self, headers: Mapping[str, str], url: str) -> str:
        if "Location" not in headers:
            raise TransferError("the registry does not say where to send a blob", "is it an OCI registry?")
        return led_to(url, headers["Location"])

    def _session_name(self, piece: Piece) -> str:
        return hashlib.sha256(f"{self._registry.base}\0{piece.sha256}".encode()).hexdigest()

    def _remembered(self, piece: Piece) -> str | None:
        try:
            return self._sessions.path_of(self._session_name(piece)).read_text(encoding="utf-8")
        except OSError:
            return None

    def _remember(self, piece: Piece, address: str) -> None:
        self._sessions.write(self._session_name(piece), address.encode())

    def _forget(self, piece: Piece) -> None:
        self._sessions.path_of(self._session_name(piece)).unlink(missing_ok=True)
