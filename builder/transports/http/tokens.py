"""Answering a server that wants to know who asks: Basic and Bearer.

Sources: RFC 9110 section 11, the distribution project's token and oauth specifications.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping

from builder.errors import TransferError
from builder.model.typed import parse_json
from builder.transports.http.credentials import Login

_LONGEST = 8192  # characters of a challenge
# a name begins where no other character of one stands before it: each is looked at once
_PARAMETER = re.compile(r'(?<![A-Za-z_])([A-Za-z_]{1,64})\s{0,8}=\s{0,8}(?:"([^"]*)"|([^\s,"]+))')
_TOKEN = re.compile(r"[!-~]{1,65536}")
# method, address, parameters, headers -> body of a 200; raises where the server refuses
AskRegistry = Callable[[str, str, Mapping[str, str], Mapping[str, str]], bytes]


def parse_challenge(text: str) -> tuple[str, dict[str, str]]:
    """The scheme (lower case) and parameters of a WWW-Authenticate header; Bearer where it offers several."""
    text = text[:_LONGEST]
    start = re.search(r"\bbearer\s", text, re.IGNORECASE) or re.search(r"\bbasic\b", text, re.IGNORECASE)
    if start is None:
        return text.split(" ")[0].lower(), {}
    scheme = start[0].strip().lower()
    rest = text[start.end() :]
    return scheme, {found[1].lower(): found[2] or found[3] or "" for found in _PARAMETER.finditer(rest)}


class Authority:
    """The Authorization header for one server, made when it is asked for and again when it has expired.

    ask: asks for a token; None: nobody else than the server itself ever gets the login
    preset: a value to send from the first request on
    scope: what to ask a token for, where the server does not say
    """

    def __init__(
        self, login: Login | None, ask: AskRegistry | None, preset: str | None = None, scope: str = ""
    ) -> None:
        self._login = login
        self._ask = ask
        self._scope = scope
        self._value = preset
        self._lock = threading.Lock()

    @property
    def value(self) -> str | None:
        """What to send now; None before the server asked."""
        return self._value

    @property
    def has_login(self) -> bool:
        """Whether there is anything to say."""
        return self._login is not None or self._value is not None

    def renew(self, challenge: str, used: str | None) -> bool:
        """Makes another value after a 401 that came in spite of `used`; False where there is none."""
        with self._lock:
            if self._value != used:  # another thread was faster
                return True
            scheme, parameters = parse_challenge(challenge)
            if scheme == "bearer" and self._ask is not None:
                self._value = f"Bearer {self._token(self._ask, parameters)}"
            elif scheme == "basic" and self._login is not None and self._login.username:
                self._value = self._login.basic
            return self._value != used

    def _token(self, ask: AskRegistry, parameters: Mapping[str, str]) -> str:
        realm = parameters.get("realm", "")
        wanted = {name: parameters[name] for name in ("service", "scope") if parameters.get(name)}
        if self._scope:
            wanted.setdefault("scope", self._scope)
        if self._login is not None and self._login.identity_token:
            form = {**wanted, "grant_type": "refresh_token", "refresh_token": self._login.identity_token}
            body = ask("POST", realm, {**form, "client_id": "diskless"}, {})
        else:
            headers = {"Authorization": self._login.basic} if self._login is not None else {}
            body = ask("GET", realm, wanted, headers)
        try:
            answer = parse_json(body)
            token = str(answer.get("token") or answer["access_token"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TransferError("the server that gives tokens gave none", "ask whoever runs the registry") from error
        if not _TOKEN.fullmatch(token):  # it becomes a header
            raise TransferError("the server that gives tokens gave something else", "ask whoever runs the registry")
        return token
