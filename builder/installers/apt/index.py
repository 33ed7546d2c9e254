"""What is wrong with a mirror's package lists: each is asked for once more and read as apt reads it.

Sources: sources.list(5), the Debian wiki's RepositoryFormat.
"""

from __future__ import annotations

import email.utils
import re
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from builder.installers.look import NOT_FOUND, AskMirror, Look

_RELEASE_LIMIT = 1 << 20
_FILE = re.compile(r"^ ([0-9a-f]{64})\s+(\d+)\s+(\S+)$", re.MULTILINE)
_COMPRESSIONS = (".xz", ".gz", ".bz2", ".lzma", ".lz4", ".zst", "")  # in apt's order
_CLOCK = "the mirror is out of date, or this machine's clock is wrong: see `date`"


@dataclass(frozen=True)
class AptIndex:
    """One line of sources.list(5): the same suite on any of `urls`; a flat one has no components."""

    urls: tuple[str, ...]
    suite: str
    components: tuple[str, ...]
    architecture: str
    checks_dates: bool = True


@dataclass(frozen=True)
class Cause:
    """What is wrong, where, and what to do about it.

    missing: the suite is not there at all; altered: a file is not what the signed Release file says
    """

    url: str
    what: str
    hint: str = ""
    missing: bool = False
    altered: bool = False


def find_cause(index: AptIndex, ask: AskMirror, now: datetime | None = None) -> Cause | None:
    """What is wrong with the first of the URLs, if something is wrong with all; None where nothing can be seen."""
    causes = [_examine(url.rstrip("/"), index, ask, now or datetime.now(UTC)) for url in index.urls]
    return causes[0] if all(causes) else None


def _examine(url: str, index: AptIndex, ask: AskMirror, now: datetime) -> Cause | None:
    flat = index.suite.endswith("/")
    base = urllib.parse.urljoin(f"{url}/", index.suite.strip("/")) if flat else f"{url}/dists/{index.suite}"
    looks = [ask(f"{base.rstrip('/')}/{name}", _RELEASE_LIMIT) for name in ("InRelease", "Release")]
    look = looks[1] if looks[0] is not None and looks[0].status == NOT_FOUND else looks[0]
    if look is None:
        return None
    if look.trouble:
        return Cause(look.url, look.trouble, look.hint, missing=look.status == NOT_FOUND)
    text = look.head.decode("utf-8", "replace")
    if _field(text, "Date") is None and not _FILE.search(text):
        begin = text.strip().splitlines()[:1]
        return Cause(
            look.url, f"it is not a Release file, but begins with {begin[0][:60]!r}" if begin else "it is empty"
        )
    return _examine_dates(look, text, index, now) or _examine_lists(base.rstrip("/"), text, index, ask)


def _field(text: str, name: str) -> str | None:
    found = re.search(rf"^{name}: *(.*?)\s*$", text, re.MULTILINE | re.IGNORECASE)
    return found[1] if found else None


def _examine_dates(look: Look, text: str, index: AptIndex, now: datetime) -> Cause | None:
    made, ends = _date(_field(text, "Date")), _date(_field(text, "Valid-Until"))
    if made is not None and made > now:
        return Cause(look.url, f"not valid before {made:%Y-%m-%d %H:%M} UTC", _CLOCK)
    if ends is not None and ends < now and index.checks_dates:
        return Cause(look.url, f"expired on {ends:%Y-%m-%d %H:%M} UTC", _CLOCK)
    return None


def _date(value: str | None) -> datetime | None:
    try:
        when = email.utils.parsedate_to_datetime(value or "")
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _examine_lists(base: str, text: str, index: AptIndex, ask: AskMirror) -> Cause | None:
    files = {name.removeprefix("./"): (digest, int(size)) for digest, size, name in _FILE.findall(text)}
    if not files:
        return None
    for component in index.components or ("",):
        prefix = f"{component}/binary-{index.architecture}/" if component else ""
        names = [f"{prefix}Packages{suffix}" for suffix in _COMPRESSIONS if f"{prefix}Packages{suffix}" in files]
        if not names:
            continue  # apt takes a component that is not there for an empty one
        cause = _examine_list(
            base, names[0], *files[names[0]], ask=ask, by_hash=_field(text, "Acquire-By-Hash") == "yes"
        )
        if cause is not None:
            return cause
    return None


def _examine_list(base: str, name: str, digest: str, size: int, *, ask: AskMirror, by_hash: bool) -> Cause | None:
    places: Sequence[str] = (f"{base}/{name}",)
    if by_hash:
        places = (f"{base}/{name.rpartition('/')[0]}/by-hash/SHA256/{digest}", *places)
    looks = [ask(place, size + 1) for place in places]
    look = next((look for look in looks if look is not None and look.status != NOT_FOUND), looks[-1])
    if look is None:
        return None
    if look.trouble:
        return Cause(look.url, look.trouble, look.hint)
    if (look.size, look.sha256) != (size, digest):
        remedy = (
            "it was changed after the index was made, or not copied whole: make the index again, or use another mirror"
        )
        return Cause(look.url, "it is not what its Release file says", remedy, altered=True)
    return None
