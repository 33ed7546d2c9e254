"""What a server's refusal means to the user, and what to do about it."""

from __future__ import annotations

from builder.errors import DisklessError, TransferError
from builder.model.typed import parse_json
from builder.transports.retries import PASSING_STATUSES, BrokenTransferError

_MEANINGS = {
    401: ("wants a login", "docker login HOST, or set DISKLESS_USERNAME and DISKLESS_PASSWORD, or --header"),
    403: ("does not allow it", "the login lacks the right to do this there"),
    404: ("does not have it", "check the name"),
    405: ("does not allow this method", "is this an address that takes uploads (WebDAV, a generic package registry)?"),
    407: ("is behind a proxy that wants a login", "see https_proxy in the environment"),
    409: ("says that it conflicts with what is there", "does the directory exist there, and may files be replaced?"),
    411: ("wants a length first", "this server does not take uploads as we make them"),
    413: ("says that this is too large", "raise its limit (nginx: client_max_body_size), or ask who runs it"),
    416: ("has less than its manifest says", "upload the version again"),
    501: ("cannot do this", "is this an address that takes uploads (WebDAV, a generic package registry)?"),
    507: ("has no room left", "free some space on the server"),
}
_LOGIN_REFUSED = "check DISKLESS_USERNAME and DISKLESS_PASSWORD, the headers, or docker login again"
_TEXT, _ERRORS = 200, 10


def refusal(what: str, status: int, body: bytes, *, logged_in: bool = False, retry_after: float = 0.0) -> DisklessError:
    """The error for an answer that is not success; `what` says what was asked of whom, without secrets."""
    meaning, hint = _MEANINGS.get(status, ("refused", "this is all that the server says"))
    if status == 401 and logged_in:
        meaning, hint = "does not accept this login", _LOGIN_REFUSED
    said = server_says(body)
    message = f"{what}: the server {meaning} ({status}{': ' + said if said else ''})"
    if status in PASSING_STATUSES:
        fault = BrokenTransferError(message, "it did so again and again; try later")
        fault.retry_after = retry_after
        return fault
    return TransferError(message, hint)


def server_says(body: bytes) -> str:
    """What the errors of a registry's JSON say, in one short line; "" for anything else."""
    try:
        errors = parse_json(body)["errors"]
        said = "; ".join(f"{error.get('code', '')} {error.get('message', '')}".strip() for error in errors[:_ERRORS])
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
    return "".join(char for char in said if char.isprintable())[:_TEXT]


def retry_after(value: str | None) -> float:
    """The seconds of a Retry-After header; 0 for a date or nonsense, where our own delay is as good."""
    try:
        return max(0.0, float(value or 0))
    except ValueError:
        return 0.0
