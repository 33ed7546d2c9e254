"""What a server's refusal means to the user, and what to do about it."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable

from builder.errors import DisklessError, TransferError
from builder.model.text.escapes import escaped
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
_TEXT, _ERRORS, _READ = 300, 10, 16 << 10
_WORDS = ("code", "error", "title", "message", "detail", "details", "error_description")
_TITLE = re.compile(r"<title[^<>]{0,100}>([^<>]{1,1000})</title", re.IGNORECASE)
_TAGS = re.compile(r"<(script|style)\b.{0,4000}?</\1[^<>]*>|<[^<>]*>", re.IGNORECASE | re.DOTALL)


class RefusedError(TransferError):
    """What a server refused for good.

    status: of HTTP; codes: those of a registry's errors, in capital letters; said: the server's own words
    """

    exit_code = TransferError.exit_code

    def __init__(self, message: str, hint: str | None, status: int, codes: tuple[str, ...], said: str) -> None:
        super().__init__(message, hint)
        self.status = status
        self.codes = codes
        self.said = said


def refusal(
    what: str,
    status: int,
    body: bytes,
    *,
    logged_in: bool = False,
    retry_after: float = 0.0,
    clean: Callable[[str], str] = str,
) -> DisklessError:
    """The error for an answer that is not success; `what` says what was asked of whom.

    clean: takes out what nobody may see
    """
    meaning, hint = _MEANINGS.get(status, ("refused", "this is all that the server says"))
    if status == 401 and logged_in:
        meaning, hint = "does not accept this login", _LOGIN_REFUSED
    said = clean(server_says(body))
    message = clean(f"{what}: the server {meaning} ({status}{': ' + said if said else ''})")
    if status in PASSING_STATUSES:
        fault = BrokenTransferError(message, "it did so again and again; try later")
        fault.retry_after = retry_after
        return fault
    return RefusedError(message, hint, status, error_codes(body), said)


def error_codes(body: bytes) -> tuple[str, ...]:
    """The codes in the errors of a registry's JSON."""
    try:
        rows = parse_json(body)["errors"][:_ERRORS]
        return tuple(str(row["code"]).upper() for row in rows if isinstance(row, dict) and "code" in row)
    except (ValueError, KeyError, TypeError):
        return ()


def server_says(body: bytes) -> str:
    """What a body says, in one short line: of a registry's JSON or another, of HTML, of plain text."""
    text = body[:_READ].decode("utf-8", "replace")
    try:
        said = _json_says(parse_json(body))
    except ValueError:
        said = _html_says(text) if "<" in text and ">" in text else text
    words = escaped(" ".join(said.split()))
    return words if len(words) <= _TEXT else f"{words[: _TEXT - 1]}…"


def _json_says(document: object) -> str:
    """Codes, messages and details, wherever they stand: servers agree on these words, and on nothing else."""
    if isinstance(document, str):
        return document
    if isinstance(document, list):
        return "; ".join(filter(None, map(_json_says, document[:_ERRORS])))
    if not isinstance(document, dict):
        return ""
    for name in ("errors", "error"):
        if isinstance(document.get(name), list | dict):
            return _json_says(document[name])
    found = [document.get(name) for name in _WORDS]
    return " ".join(one if isinstance(one, str) else json.dumps(one) for one in found if one not in (None, "", {}, []))


def _html_says(text: str) -> str:
    """The title, else all words."""
    title = _TITLE.search(text)
    return html.unescape(title[1] if title and title[1].strip() else _TAGS.sub(" ", text))


def retry_after(value: str | None) -> float:
    """The seconds of a Retry-After header; 0 for a date or nonsense, where our own delay is as good."""
    try:
        return max(0.0, float(value or 0))
    except ValueError:
        return 0.0
