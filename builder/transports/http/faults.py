"""What went wrong with a connection, in words; nothing is quoted, since it may hold a proxy's password."""

from __future__ import annotations

import requests

from builder.errors import DisklessError, InputError, TransferError
from builder.transports.retries import BrokenTransferError

TRY_LATER = "this may pass: try again, what was moved so far is kept"


def connection_fault(what: str, error: requests.RequestException) -> DisklessError:
    """The error of ours for one of requests, which does not quote it: it may hold a login of a proxy."""
    reason = str(error)
    if isinstance(error, requests.exceptions.ProxyError):
        hint = "see http_proxy, https_proxy and no_proxy in the environment"
        return TransferError(f"{what}: the proxy does not let us through", hint)
    if isinstance(error, requests.exceptions.SSLError) and "EOF occurred" not in reason:
        return TransferError(f"{what}: no safe connection: {_tls_reason(reason)}", _TLS_HINT)
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
        return InputError(f"{what}: this is no address", "https://HOST/PATH")
    return _passing_fault(what, error, reason)


def _passing_fault(what: str, error: requests.RequestException, reason: str) -> DisklessError:
    if isinstance(error, requests.exceptions.Timeout):
        return BrokenTransferError(f"{what}: no answer in time", TRY_LATER)
    if any(sign in reason for sign in _NO_NAME):
        return BrokenTransferError(
            f"{what}: the host has no address", "check the name, and this machine's name servers"
        )
    if "refused" in reason:
        return BrokenTransferError(f"{what}: nothing answers there", "does the server run, and is the port right?")
    return BrokenTransferError(f"{what}: the connection broke", TRY_LATER)


_NO_NAME = ("Name or service not known", "name resolution", "NameResolution", "No address associated")
_TLS_HINT = "--ca FILE, if the certificate is of a CA of your own; --plain-http, if the server has no TLS"


def _tls_reason(reason: str) -> str:
    for sign, meaning in (
        ("WRONG_VERSION_NUMBER", "it does not speak TLS on this port"),
        ("record layer failure", "it does not speak TLS on this port"),
        ("Hostname mismatch", "its certificate is for another name"),
        ("doesn't match", "its certificate is for another name"),
        ("IP address mismatch", "its certificate is for another address"),
        ("certificate has expired", "its certificate has expired"),
        ("self-signed", "nobody that this machine trusts signed its certificate"),
        ("self signed", "nobody that this machine trusts signed its certificate"),
        ("unable to get local issuer", "nobody that this machine trusts signed its certificate"),
    ):
        if sign in reason:
            return meaning
    return "its certificate cannot be trusted"
