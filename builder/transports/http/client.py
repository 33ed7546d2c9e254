"""HTTP requests to one server: logins, redirects, proxies, certificates, and errors that say what to do.

A request is made once; what may pass is raised as a PassingError, and who asked decides what to ask again.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urljoin, urlsplit

import requests

from builder.errors import InputError, TransferError
from builder.output.given import open_given
from builder.system.guarded.held import HeldDirectory
from builder.transports.base import Options
from builder.transports.http.addresses import check_address, is_loopback, origin_of, plain_address
from builder.transports.http.credentials import Login
from builder.transports.http.faults import TRY_LATER, connection_fault
from builder.transports.http.meter import Meter
from builder.transports.http.refusals import refusal, retry_after
from builder.transports.http.tokens import Authority
from builder.transports.retries import BrokenTransferError

_TIMEOUT = (15.0, 120.0)  # to connect, between two reads; a store may think about 100 MB for a while
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5
_SMALL_BODY = 1 << 20
PIECE = 64 << 10


@dataclass(frozen=True)
class FilePart:
    """Bytes of a file of a version as the body of a request."""

    version: HeldDirectory
    name: str
    offset: int
    size: int

    @property
    def path(self) -> Path:
        """Of the file, for messages."""
        return self.version.path / self.name

    def open(self) -> BinaryIO:
        """The file, where these bytes begin; AuditError where it is none any more."""
        file = open_given(self.version, self.name)
        file.seek(self.offset)
        return file

    def read(self) -> bytes:
        """All of these bytes."""
        with self.open() as file:
            return file.read(self.size)


Body = bytes | FilePart


class Answer:
    """A response whose body was not read yet."""

    def __init__(self, response: requests.Response, what: str, meter: Meter) -> None:
        self._response = response
        self._what = what
        self._meter = meter
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.url = str(response.url)

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes; BrokenTransferError where it ends early."""
        try:
            for piece in self._response.iter_content(PIECE):
                self._meter.add(len(piece))
                yield piece
        except (requests.RequestException, HTTPException, OSError) as error:
            raise BrokenTransferError(
                f"{self._what}: the connection broke: {type(error).__name__}", TRY_LATER
            ) from error

    def body(self, most: int) -> bytes:
        """The whole body; TransferError where it has more than `most` bytes."""
        parts, size = [], 0
        for piece in self.pieces():
            size += len(piece)
            if size > most:
                raise TransferError(f"{self._what}: an answer of more than {most} bytes", "is this the right address?")
            parts.append(piece)
        return b"".join(parts)


class HttpClient:
    """Speaks to the server of one address; may be used by several threads."""

    def __init__(self, base: str, options: Options, login: Login | None, *, preset: bool, scope: str = "") -> None:
        check_address(base, plain_http=options.plain_http)
        self.meter = Meter(options.progress, "received")
        self.sent = Meter(options.progress, "sent")
        self._origin = origin_of(base)
        self._options = options
        # the whole value and, of `Bearer TOKEN`, the token
        values = [text for _, value in options.headers for text in (value, value.rpartition(" ")[2])]
        self._secrets = [*values, *(login.secrets if login else ())]
        first = login.basic if login is not None and preset else None
        self._authority = Authority(login, self._ask_token, first, scope)
        self._local = threading.local()

    @contextlib.contextmanager
    def open(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        accept: Iterable[int] = (200,),
    ) -> Iterator[Answer]:
        """One request, its answer with a status in `accept`; PassingError or TransferError otherwise."""
        used = self._authority.value
        response = self._send(method, url, headers or {}, body)
        if response.status_code == 401 and self._authority.renew(response.headers.get("WWW-Authenticate", ""), used):
            response.close()
            response = self._send(method, url, headers or {}, body)
        with contextlib.closing(response):
            what = f"{method} {plain_address(url)}"
            if response.status_code not in accept:
                raise self._refusal(what, response)
            yield Answer(response, what, self.meter)

    def call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        accept: Iterable[int] = (200,),
        most: int = _SMALL_BODY,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and the whole body, of at most `most` bytes."""
        with self.open(method, url, headers=headers, body=body, accept=accept) as answer:
            return answer.status, answer.headers, answer.body(most)

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: Body | None) -> requests.Response:
        for _ in range(_MOST_REDIRECTS):
            response = self._send_once(method, url, headers, body)
            if response.status_code not in _REDIRECTS or "Location" not in response.headers:
                return response
            response.close()
            target = _led_to(url, response.headers["Location"])
            if url.startswith("https:") and not target.startswith("https:"):
                raise TransferError(
                    f"{plain_address(url)} leads to {plain_address(target)}, without TLS", "ask who runs the server"
                )
            if response.status_code == 303:
                method, body = "GET", None
            url = target
        raise TransferError(f"{plain_address(url)}: too many redirects", "ask who runs the server")

    def _send_once(self, method: str, url: str, headers: Mapping[str, str], body: Body | None) -> requests.Response:
        ours = dict(self._options.headers) if origin_of(url) == self._origin else {}
        own = {"Accept-Encoding": "identity", "User-Agent": "diskless", **ours, **headers}
        if self._authority.value and origin_of(url) == self._origin:
            own["Authorization"] = self._authority.value
        with _body_of(body, self.sent) as data:
            return self._exchange(method, url, own, data)

    def _exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        data: Any,  # noqa: ANN401 - bytes, a form, or something with read and len
        params: Mapping[str, str] | None = None,
    ) -> requests.Response:
        what = f"{method} {plain_address(url)}"
        check_address(url, plain_http=self._options.plain_http)
        session = self._session(url)
        try:
            return session.request(
                method,
                url,
                params=params,
                headers=dict(headers),
                data=data,
                auth=_no_auth,
                timeout=_TIMEOUT,
                stream=True,
                allow_redirects=False,
                verify=_certificates(self._options.ca),
            )
        except requests.RequestException as error:
            raise connection_fault(what, error) from None  # the error's own text may hold a proxy's password
        except (HTTPException, OSError) as error:
            raise BrokenTransferError(f"{what}: {type(error).__name__}", TRY_LATER) from None

    def _session(self, url: str) -> requests.Session:
        """One for each thread; proxies of the environment are not for this host."""
        name = "here" if is_loopback(urlsplit(url).hostname or "") else "there"
        session: requests.Session | None = getattr(self._local, name, None)
        if session is None:
            session = requests.Session()
            session.trust_env = name == "there"
            setattr(self._local, name, session)
        return session

    def _ask_token(self, method: str, realm: str, wanted: Mapping[str, str], headers: Mapping[str, str]) -> bytes:
        if method == "GET":
            response = self._exchange("GET", realm, headers, None, wanted)
        else:
            response = self._exchange("POST", realm, headers, dict(wanted))
        with contextlib.closing(response):
            what = f"{method} {plain_address(realm)} for a token"
            if response.status_code != 200:
                raise self._refusal(what, response)
            return Answer(response, what, self.meter).body(_SMALL_BODY)

    def _refusal(self, what: str, response: requests.Response) -> Exception:
        body = b""
        with contextlib.suppress(BrokenTransferError, TransferError):
            body = Answer(response, what, self.meter).body(_SMALL_BODY)
        error = refusal(
            what,
            response.status_code,
            body,
            logged_in=self._authority.has_login,
            retry_after=retry_after(response.headers.get("Retry-After")),
        )
        for secret in self._secrets:
            error.message = error.message.replace(secret, "***")
        return error


def _led_to(url: str, location: str) -> str:
    try:
        target = urljoin(url, location)
        origin_of(target)
    except ValueError:
        raise TransferError(f"{plain_address(url)} leads to no address", "ask who runs the server") from None
    return target


class _CountedFile:
    """A part of a file that requests can send: it has a length and reads."""

    def __init__(self, part: FilePart, meter: Meter) -> None:
        self._file = part.open()
        self._left = self._size = part.size
        self._meter = meter

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        while data := self.read(PIECE):
            yield data

    def read(self, size: int = -1) -> bytes:
        """The next bytes; counts them."""
        data = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        self._meter.add(len(data))
        return data

    def close(self) -> None:
        """Ends it."""
        self._file.close()


@contextlib.contextmanager
def _body_of(body: Body | None, meter: Meter) -> Iterator[Any]:
    if not isinstance(body, FilePart) or body.size == 0:  # which requests would send in chunks
        data = body if isinstance(body, bytes) else None if body is None else b""
        meter.add(len(data or b""))
        yield data
        return
    with contextlib.closing(_CountedFile(body, meter)) as file:
        yield file


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keeps requests from taking another login from ~/.netrc over ours."""
    return request


def _certificates(ca: Path | None) -> str | bool:
    if ca is None:
        return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or True
    if not ca.is_file():
        raise InputError(f"--ca: {ca} is not a file", "give a file with certificates in PEM form")
    return str(ca)
