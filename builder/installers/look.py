"""What a mirror answers when it is asked once more, after a package manager failed.

Their messages are for people and change with every release; an HTTP status, an error number and the bytes do not.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import re
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from builder.system.host import proxy_variables

_SECONDS = 10
_CHUNK = 1 << 20
NOT_FOUND = 404
# what opening or reading a URL may raise
UNREAD = (OSError, http.client.HTTPException)
_STATUSES = {
    401: ("wants a login", "a build sends none: let this host read it without one, or from a copy of your own"),
    403: ("does not allow it", "a build sends no login: is this host allowed to read there?"),
    404: ("does not have it", ""),
    407: (
        "is behind a proxy that wants a login",
        "name it in http_proxy and https_proxy: http://USER:PASSWORD@HOST:PORT",
    ),
}
_APT_PROXY = re.compile(r'^Acquire::(https?)::Proxy(-Auto-Detect|AutoDetect)?(?:::(\S+))? "(.*)";$', re.IGNORECASE)


@dataclass(frozen=True)
class Look:
    """What came of asking for `url` once.

    trouble: why it could not be had, "" if it could; hint: what to do about that, "" where nothing is known
    status: of HTTP; 404 for a local file that does not exist; 0 where nobody answered
    size, sha256: of all that came, `head` its first MiB
    """

    url: str
    trouble: str = ""
    hint: str = ""
    status: int = 0
    size: int = 0
    sha256: str = ""
    head: bytes = b""


# a URL and how many bytes at most; None where it cannot be asked as the program asked
AskMirror = Callable[[str, int], Look | None]


@dataclass(frozen=True)
class Proxies:
    """Which proxy a package manager goes through: by scheme, or by (scheme, host); "DIRECT" for none.

    unknown: a program chooses one for each request, so that asking without it would show nothing
    """

    by_scheme: Mapping[str, str]
    by_host: Mapping[tuple[str, str], str]
    exceptions: str = ""
    unknown: bool = False

    def find(self, url: str) -> str | None:
        """The proxy for a URL; None where it is asked directly."""
        parts = urllib.parse.urlsplit(url)
        chosen = self.by_host.get((parts.scheme, parts.hostname or ""), self.by_scheme.get(parts.scheme, ""))
        direct = chosen in ("", "DIRECT") or urllib.request.proxy_bypass_environment(  # type: ignore[attr-defined]
            parts.hostname or "", {"no": self.exceptions}
        )
        return None if direct else chosen


def read_proxies(environment: Mapping[str, str], apt_lines: Sequence[str] = ()) -> Proxies:
    """The proxies of the environment, and of `apt-config dump`'s lines, which count more."""
    # as curl and apt do: HTTP_PROXY could come from a request's header Proxy, in CGI
    https = environment.get("https_proxy", environment.get("HTTPS_PROXY", ""))
    by_scheme = {"http": environment.get("http_proxy", ""), "https": https}
    by_host: dict[tuple[str, str], str] = {}
    unknown = False
    for found in filter(None, map(_APT_PROXY.match, apt_lines)):
        scheme, detected, host, value = found[1].lower(), found[2], found[3], found[4]
        if detected:
            unknown = unknown or bool(value)
        elif host:
            by_host[scheme, host] = value
        else:
            by_scheme[scheme] = value
    exceptions = environment.get("no_proxy", environment.get("NO_PROXY", ""))
    return Proxies(by_scheme, by_host, exceptions, unknown)


_WEB = ("http", "https")
_LOCAL = ("file", "copy")


def ask_through(proxies: Proxies) -> AskMirror:
    """`look_at` with these proxies."""
    return lambda url, limit: look_at(url, proxies, limit)


def look_at(url: str, proxies: Proxies, limit: int) -> Look | None:
    """Reads up to `limit` bytes of a URL and keeps nothing; None where it cannot be asked as the program asked."""
    scheme = url.partition(":")[0]
    if scheme in _LOCAL:
        return _look_at_file(url, limit)
    if scheme not in _WEB or proxies.unknown:
        return None
    return _look_at_web(url, proxies.find(url), limit)


def _look_at_file(url: str, limit: int) -> Look:
    try:
        with _local_path(url).open("rb") as file:
            return _read(Look(url), file, limit)
    except (FileNotFoundError, NotADirectoryError):
        return Look(url, "does not exist", status=NOT_FOUND)
    except OSError as error:
        return Look(url, error.strerror or str(error))


def _look_at_web(url: str, proxy: str | None, limit: int) -> Look:
    try:
        with _opener(url.partition(":")[0], proxy).open(_request(url), timeout=_SECONDS) as answer:
            seen = _read(Look(url), answer, limit)
            announced = answer.headers.get("Content-Length", "")
    except UNREAD as error:
        return _failed(url, proxy, error, _SECONDS)
    if announced.isdigit() and seen.size < min(int(announced), limit):
        return Look(url, f"the connection broke after {seen.size} of {announced} bytes", "try again")
    return seen


def _read(look: Look, file: IO[bytes], limit: int) -> Look:
    digest, size, head = hashlib.sha256(), 0, b""
    while size < limit and (chunk := file.read(min(_CHUNK, limit - size))):
        digest.update(chunk)
        head = head or chunk
        size += len(chunk)
    return replace(look, size=size, sha256=digest.hexdigest(), head=head)


@contextlib.contextmanager
def open_url(url: str, proxies: Proxies, seconds: int) -> Iterator[IO[bytes]]:
    """What lies at a URL of http, https or file, to be read; one of UNREAD where it cannot be had.

    seconds: that nothing may come for
    """
    scheme = url.partition(":")[0]
    if scheme in _LOCAL:
        with _local_path(url).open("rb") as file:
            yield file
    else:
        with _opener(scheme, proxies.find(url)).open(_request(url), timeout=seconds) as answer:
            yield answer


def _opener(scheme: str, proxy: str | None) -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({scheme: proxy} if proxy else {}))


def _request(url: str) -> urllib.request.Request:
    return urllib.request.Request(url, headers={"User-Agent": "diskless", "Accept-Encoding": "identity"})


def _local_path(url: str) -> Path:
    return Path("/" + urllib.parse.unquote(url.partition(":")[2]).lstrip("/"))


def describe_failure(url: str, error: Exception, proxies: Proxies, seconds: int) -> str:
    """Why reading a URL failed, in words; `error`: of urllib, or of opening a file; `seconds`: as of `open_url`."""
    if url.partition(":")[0] in _LOCAL:
        return (isinstance(error, OSError) and error.strerror) or str(error)
    return _failed(url, proxies.find(url), error, seconds).trouble


def _failed(url: str, proxy: str | None, error: Exception, seconds: int) -> Look:
    if isinstance(error, urllib.error.HTTPError):
        meaning, hint = _STATUSES.get(error.code, ("refuses", ""))
        return Look(url, f"the server {meaning} ({error.code} {error.reason})", hint, error.code)
    if isinstance(error, urllib.error.URLError):
        return _unreachable(url, proxy, error.reason if isinstance(error.reason, OSError) else error, seconds)
    return _unreachable(url, proxy, error, seconds)


def _unreachable(url: str, proxy: str | None, error: Exception, seconds: int) -> Look:
    """Why no answer came: by the kind of the exception, else in the system's own words."""
    tunnel = re.fullmatch(r"Tunnel connection failed: (\d{3})\b.*", str(error))
    if tunnel:
        meaning, hint = _STATUSES[407] if tunnel[1] == "407" else ("is behind a proxy that refuses", "")
        return Look(url, f"the server {meaning} ({tunnel[1]})", hint, int(tunnel[1]))
    if isinstance(error, ssl.SSLCertVerificationError):
        return Look(url, f"no safe connection: {error.verify_message}", "is the mirror's CA known to this host?")
    place = urllib.parse.urlsplit(proxy or url)
    what = f"the proxy {place.hostname}:{place.port or 80}" if proxy else (place.hostname or url)
    hint = "see http_proxy and https_proxy in the environment, and apt's own Acquire::http::Proxy" if proxy else ""
    if isinstance(error, socket.gaierror):
        return Look(url, f"{what} has no address", hint or "check the name, and this machine's name servers")
    if isinstance(error, ConnectionRefusedError):
        return Look(url, f"{what} does not take connections", hint or "is the port right, and does the server run?")
    if isinstance(error, TimeoutError):
        return Look(url, f"no answer from {what} within {seconds} s", hint)
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
    return Look(url, f"{what}: {words}", hint)


def ask_by_environment() -> AskMirror:
    """Through the proxies that the environment names."""
    return ask_through(read_proxies(proxy_variables()))
