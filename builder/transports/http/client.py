"""HTTP requests to one server: logins, redirects, proxies, certificates, and errors that say what to do.

A request is made once; what may pass is raised as a PassingError, and who asked decides what to ask again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from builder.errors import InputError, TransferError
from builder.output.given import open_given
from builder.system.guarded.held import HeldDirectory
from builder.transports.base import Options
from builder.transports.http.addresses import check_address, is_akin, is_loopback, led_to, origin_of, plain_address
from builder.transports.http.credentials import Login
from builder.transports.http.faults import TRY_LATER, connection_fault
from builder.transports.http.meter import Meter
from builder.transports.http.refusals import refusal, retry_after
from builder.transports.http.tokens import Authority
from builder.transports.http.watch import Exchange, Watch, watched_adapter
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


@dataclass(frozen=True)
class Reply:
    """A response whose body was not read yet, and the exchange that it is of.

    is_ours: whether it is of the client's own origin, and no other led there
    """

    response: requests.Response
    exchange: Exchange
    watch: Watch
    is_ours: bool = False

    def close(self) -> None:
        """Ends it."""
        self.response.close()
        self.watch.finish(self.exchange)


class Answer:
    """What a reply says."""

    def __init__(self, reply: Reply, what: str, meter: Meter) -> None:
        self._reply = reply
        self._what = what
        self._meter = meter
        response = reply.response
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.url = str(response.url)

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes; BrokenTransferError where it ends early."""
        while piece := self._next():
            self._meter.add(len(piece))
            yield piece

    def _next(self) -> bytes:
        """What is there of the body, as it was sent: nothing is unpacked that a server packed."""
        exchange = self._reply.exchange
        try:
            with exchange.waiting():
                piece: bytes = self._reply.response.raw.read1(PIECE, decode_content=False)
        except (requests.RequestException, HTTPError, HTTPException, OSError, ValueError) as error:
            fault = self._reply.watch.fault(exchange, self._what)
            message = f"{self._what}: the connection broke: {type(error).__name__}"
            raise fault or BrokenTransferError(message, TRY_LATER) from error
        exchange.moved += len(piece)
        if not piece and (fault := self._reply.watch.fault(exchange, self._what)):
            raise fault
        return piece

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
        self._secrets = [secret for secret in (*values, *(login.secrets if login else ())) if secret]
        first = login.basic if login is not None and preset else None
        # web servers give no tokens: whoever asks for one there wants the login
        self._authority = Authority(login, self._ask_token if scope else None, first, scope)
        self._has_login = login is not None
        self._watch = Watch(options.limits)
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
        with contextlib.ExitStack() as stack:
            reply = stack.enter_context(contextlib.closing(self._send(method, url, headers or {}, body)))
            # who was only led to has nothing to ask for: the login is for the server that it was given for
            if reply.response.status_code == 401 and reply.is_ours:
                challenge = reply.response.headers.get("WWW-Authenticate", "")
                if self._authority.renew(challenge, used):
                    stack.close()
                    reply = stack.enter_context(contextlib.closing(self._send(method, url, headers or {}, body)))
            what = f"{method} {plain_address(url)}"
            if reply.response.status_code not in accept:
                raise self._refusal(what, reply)
            yield Answer(reply, what, self.meter)

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

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: Body | None) -> Reply:
        is_ours = True
        for _ in range(_MOST_REDIRECTS):
            is_ours = is_ours and origin_of(url) == self._origin
            reply = self._send_once(method, url, headers, body, is_ours=is_ours)
            response = reply.response
            if response.status_code not in _REDIRECTS or "Location" not in response.headers:
                return reply
            reply.close()
            target = led_to(url, response.headers["Location"])
            if response.status_code == 303:
                method, body = "GET", None
            url = target
        raise TransferError(f"{plain_address(url)}: too many redirects", "ask whoever runs the server")

    def _send_once(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None, *, is_ours: bool
    ) -> Reply:
        ours = dict(self._options.headers) if is_ours else {}
        own = {"Accept-Encoding": "identity", "User-Agent": "diskless", **ours, **headers}
        if self._authority.value and is_ours:
            own["Authorization"] = self._authority.value
        with _body_of(body, self.sent) as data:
            return dataclasses.replace(self._exchange(method, url, own, data), is_ours=is_ours)

    def _exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        data: Any,  # noqa: ANN401 - bytes, a form, or something with read and len
        params: Mapping[str, str] | None = None,
    ) -> Reply:
        what = f"{method} {plain_address(url)}"
        check_address(url, plain_http=self._options.plain_http)
        session, exchange = self._session(url), self._watch.begin()
        if isinstance(data, _CountedBody):
            data.exchange = exchange
        try:
            with exchange.waiting():
                response = session.request(
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
            return Reply(response, exchange, self._watch)
        except (requests.RequestException, HTTPError, HTTPException, OSError, ValueError) as error:
            self._watch.finish(exchange)
            # the error's own text may hold a proxy's password
            raise self._watch.fault(exchange, what) or connection_fault(what, error) from None
        except BaseException:
            self._watch.finish(exchange)
            raise

    def _session(self, url: str) -> requests.Session:
        """One for each thread; proxies of the environment are not for this host."""
        name = "here" if is_loopback(urlsplit(url).hostname or "") else "there"
        session: requests.Session | None = getattr(self._local, name, None)
        if session is None:
            session = requests.Session()
            session.trust_env = name == "there"
            for prefix in ("http://", "https://"):
                session.mount(prefix, watched_adapter(self._watch))
            setattr(self._local, name, session)
        return session

    def _ask_token(self, method: str, realm: str, wanted: Mapping[str, str], headers: Mapping[str, str]) -> bytes:
        what = f"{method} {plain_address(realm)} for a token"
        led_to(realm, "")
        host = urlsplit(realm).hostname or ""
        if self._has_login and host not in self._options.token_servers and not is_akin(self._origin[1] or "", host):
            hint = f"if it is the registry's: --token-server {host}"
            raise TransferError(f"{self._origin[1]} wants the login to go to {host}", hint)
        if self._origin[0] == "https" and not realm.startswith("https:"):
            raise TransferError(f"{what}: it is asked for without TLS", "ask whoever runs the server")
        if method == "GET":
            reply = self._exchange("GET", realm, headers, None, wanted)
        else:
            reply = self._exchange("POST", realm, headers, dict(wanted))
        with contextlib.closing(reply):
            if reply.response.status_code != 200:
                raise self._refusal(what, reply)
            return Answer(reply, what, self.meter).body(_SMALL_BODY)

    def _refusal(self, what: str, reply: Reply) -> Exception:
        body, response = b"", reply.response
        with contextlib.suppress(BrokenTransferError, TransferError):
            body = Answer(reply, what, self.meter).body(_SMALL_BODY)
        for secret in self._secrets:  # before anything is cut
            body = body.replace(secret.encode(), b"***")
        return refusal(
            what,
            response.status_code,
            body,
            logged_in=self._authority.has_login,
            retry_after=retry_after(response.headers.get("Retry-After")),
            clean=self._without_secrets,
        )

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


class _CountedBody:
    """Bytes that requests can send: they have a length, and are read."""

    exchange: Exchange | None = None

    def __init__(self, file: BinaryIO, size: int, meter: Meter) -> None:
        self._file = file
        self._left = self._size = size
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
        if self.exchange is not None:
            self.exchange.moved += len(data)
        return data

    def close(self) -> None:
        """Ends it."""
        self._file.close()


@contextlib.contextmanager
def _body_of(body: Body | None, meter: Meter) -> Iterator[Any]:
    size = 0 if body is None else len(body) if isinstance(body, bytes) else body.size
    if body is None or size == 0:  # which requests would send in chunks
        yield None if body is None else b""
        return
    with contextlib.closing(
        _CountedBody(io.BytesIO(body) if isinstance(body, bytes) else body.open(), size, meter)
    ) as data:
        yield data


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keeps requests from taking another login from ~/.netrc over ours."""
    return request


def _certificates(ca: Path | None) -> str | bool:
    if ca is None:
        return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or True
    if not ca.is_file():
        raise InputError(f"--ca: {ca} is not a file", "give a file with certificates in PEM form")
    return str(ca)
