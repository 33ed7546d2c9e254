"""What went wrong with a connection, by the exceptions' types and codes.

Of their texts only OpenSSL's and a proxy's answer are quoted: those of requests may hold a proxy's password.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator

import requests

from builder.errors import DisklessError, InputError, TransferError
from builder.transports.retries import BrokenTransferError

TRY_LATER = "this may pass: try again, what was moved so far is kept"
_PROXY_HINT = "see http_proxy, https_proxy and no_proxy in the environment"


def connection_fault(what: str, error: Exception) -> DisklessError:
    """The error of ours for one of requests, which does not quote it: it may hold a login of a proxy."""
    causes = list(_causes(error))
    if isinstance(error, requests.exceptions.ProxyError):
        return TransferError(f"{what}: {_proxy_reason(causes)}", _PROXY_HINT)
    tls = next((cause for cause in causes if isinstance(cause, ssl.SSLError)), None)
    if tls is not None and not isinstance(tls, ssl.SSLEOFError):
        meaning, hint = _tls_meaning(tls)
        return TransferError(f"{what}: no safe connection: {meaning}", hint)
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
        return InputError(f"{what}: this is not an address", "https://HOST/PATH")
    return _passing_fault(what, error, causes)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and those in it: requests wraps urllib3's, which wraps the one of the socket."""
    seen: list[BaseException] = []
    pending: list[object] = [error]
    while pending:
        cause = pending.pop(0)
        if isinstance(cause, BaseException) and not any(cause is one for one in seen):
            seen.append(cause)
            yield cause
            inner = (getattr(cause, "reason", None), getattr(cause, "original_error", None))
            pending += [cause.__cause__, *inner, *cause.args, cause.__context__]


def _passing_fault(what: str, error: Exception, causes: list[BaseException]) -> DisklessError:
    if isinstance(error, requests.exceptions.Timeout):
        return BrokenTransferError(f"{what}: no answer in time", TRY_LATER)
    if _is_any(causes, socket.gaierror):
        hint = "check the name, and this machine's name servers"
        return BrokenTransferError(f"{what}: the host has no address", hint)
    if _is_any(causes, ConnectionRefusedError):
        return BrokenTransferError(f"{what}: nothing answers there", "does the server run, and is the port right?")
    return BrokenTransferError(f"{what}: the connection broke", TRY_LATER)


def _is_any(causes: list[BaseException], kind: type[BaseException]) -> bool:
    return any(isinstance(cause, kind) for cause in causes)


def _proxy_reason(causes: list[BaseException]) -> str:
    if _is_any(causes, socket.gaierror):
        return "the proxy's host has no address"
    if _is_any(causes, ConnectionRefusedError):
        return "nothing answers where the proxy should be"
    # http.client keeps the proxy's answer to CONNECT only here
    answers = (re.fullmatch(r"Tunnel connection failed: (\d{3}\b.*)", str(cause)) for cause in causes)
    said = next((answer[1].strip() for answer in answers if answer), None)
    return f"the proxy does not let us through{f' ({said[:_TEXT]})' if said else ''}"


_TEXT = 200
_CA_HINT = "--ca FILE, if the certificate is of a CA of your own"
_NAME_HINT = "name the server as its certificate does, or give it a certificate for this name"
_CLOCK_HINT = "the server needs another certificate, or this machine's clock is wrong: see `date`"
_MADE_HINT = "the server's certificate, or its CA's, has to be made again: `openssl verify -x509_strict` shows the same"
# X509_V_ERR_* of x509_vfy.h
_VERIFY_MEANINGS = {
    9: ("its certificate is not valid yet", _CLOCK_HINT),
    10: ("its certificate has expired", _CLOCK_HINT),
    **dict.fromkeys((18, 19, 20, 21), ("nobody that this machine trusts signed its certificate", _CA_HINT)),
    62: ("its certificate is for another name", _NAME_HINT),
    64: ("its certificate is for another address", _NAME_HINT),
}
# SSL_R_*, of which OpenSSL 3.2 made the second
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG")


def _tls_meaning(error: ssl.SSLError) -> tuple[str, str | None]:
    """What it means and what to do; OpenSSL's own words for what is not known here."""
    if isinstance(error, ssl.SSLCertVerificationError):
        own = (f"its certificate is not accepted: {error.verify_message}", _MADE_HINT)
        return _VERIFY_MEANINGS.get(error.verify_code, own)
    reason = error.reason or re.sub(r"^\[SSL[^\]]*\] | \(_ssl\.c:\d+\)$", "", str(error))
    if reason.upper().replace(" ", "_") in _NO_TLS:
        return "it does not speak TLS on this port", "--plain-http, if the server has no TLS"
    return f"TLS: {reason}", None
