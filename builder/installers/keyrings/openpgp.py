"""What gpg(1) says to programs: the status lines of a verification, and listings of keys.

Source: doc/DETAILS of GnuPG, "Format of the --status-fd output" and "Format of the colon listings".
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass, replace

_PREFIX = "[GNUPG:] "
_GOOD, _UNKNOWN = "GOODSIG", "ERRSIG"
_VERDICTS = {
    _GOOD: "is good",
    "EXPSIG": "is good, but the signature has expired",
    "EXPKEYSIG": "is by a key that has expired",
    "REVKEYSIG": "is by a key that was revoked",
    "BADSIG": "does not fit what is signed",
    _UNKNOWN: "is by a key that is not known here",
}
_FULL = ("TRUST_FULLY", "TRUST_ULTIMATE")


@dataclass(frozen=True)
class Signature:
    """What is known of one signature.

    verdict: the status keyword that says so, GOODSIG and its like
    key: the fingerprint of the key or subkey that made it, or only its id where the key is not known
    primary: the fingerprint of the key that it belongs to, empty where that is not known
    made, expired: seconds, of the signature and its key; 0 where it is not known, or the key did not expire
    trusted: gpg's web of trust reaches the key
    """

    verdict: str
    key: str
    owner: str = ""
    primary: str = ""
    made: int = 0
    expired: int = 0
    trusted: bool = False

    @property
    def good(self) -> bool:
        """Whether a key that is known, and neither revoked nor expired, made it for these very bytes."""
        return self.verdict == _GOOD and bool(self.primary)

    def describe(self) -> str:
        """`the signature by KEY (OWNER) ...`."""
        owner = f" ({self.owner})" if self.owner else ""
        dates = f" on {_day(self.expired)}; it signed on {_day(self.made)}" if self.expired and self.made else ""
        verdict = _VERDICTS.get(self.verdict, f"cannot be checked ({self.verdict})")
        return f"the signature by {self.primary or self.key}{owner} {verdict}{dates}"


def read_signatures(status: str) -> tuple[Signature, ...]:
    """The signatures that the status lines of one verification tell of, in their order."""
    found: list[Signature] = []
    expired = 0
    for line in status.splitlines():
        keyword, *words = line.removeprefix(_PREFIX).split(" ") if line.startswith(_PREFIX) else [""]
        if keyword == "NEWSIG":
            expired = 0
        elif keyword == "KEYEXPIRED" and words[0].isdigit():
            expired = int(words[0])
        elif keyword in _VERDICTS:
            owner = "" if keyword == _UNKNOWN else " ".join(words[1:])
            # rc 9 is a missing key, anything else an algorithm or a form that gpg does not accept
            verdict = keyword if keyword != _UNKNOWN or words[5:6] == ["9"] else f"gpg's error {words[5]}"
            key = words[6] if keyword == _UNKNOWN and words[6:] and words[6] != "-" else words[0]
            found.append(Signature(verdict, key, owner, expired=expired if keyword == "EXPKEYSIG" else 0))
        elif keyword == "VALIDSIG" and found:
            found[-1] = replace(found[-1], key=words[0], primary=words[-1], made=int(words[2]))
        elif keyword.startswith("TRUST_") and found:
            found[-1] = replace(found[-1], trusted=keyword in _FULL)
    return tuple(found)


@dataclass(frozen=True)
class PublicKey:
    """One key of a listing; `usable`: neither revoked nor expired; `valid`: the web of trust reaches it."""

    fingerprint: str
    owner: str
    subkeys: tuple[str, ...]
    usable: bool
    valid: bool


def read_keys(listing: str) -> dict[str, PublicKey]:
    """The keys of `gpg --with-colons --list-keys`, by fingerprint."""
    found: dict[str, PublicKey] = {}
    validity, key = "", ""
    for fields in (line.split(":") for line in listing.splitlines()):
        if fields[0] == "pub":
            validity, key = fields[1], ""
        elif fields[0] == "fpr" and not key:
            key = fields[9]
            found[key] = PublicKey(key, "", (), validity not in ("r", "e", "i"), validity in ("f", "u"))
        elif fields[0] == "fpr":
            found[key] = replace(found[key], subkeys=(*found[key].subkeys, fields[9]))
        elif fields[0] == "uid" and key and not found[key].owner:
            found[key] = replace(found[key], owner=fields[9].replace("\\x3a", ":"))
    return found


def find_key(keys: Iterable[PublicKey], fingerprint: str) -> PublicKey | None:
    """The key that has this fingerprint, or a subkey that has it."""
    return next((key for key in keys if fingerprint in (key.fingerprint, *key.subkeys)), None)


def _day(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).date().isoformat()
