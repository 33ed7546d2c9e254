"""Addresses of servers: which are allowed, and how they are shown."""

from __future__ import annotations

import ipaddress
from urllib.parse import urljoin, urlsplit

from builder.errors import InputError, TransferError

_ASK = "ask whoever runs the server"


def check_address(url: str, *, plain_http: bool) -> None:
    """InputError for an address with a login in it, or without TLS to another host unless that was asked for."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise InputError(f"this is not an address of a web server: {error}", "https://HOST[:PORT]/PATH") from None
    if "@" in parts.netloc:
        raise InputError(
            f"the address of {parts.hostname} has a login in it, which others can see",
            "leave it out and set DISKLESS_USERNAME and DISKLESS_PASSWORD",
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"{plain_address(url)} is not an address of a web server", "https://HOST/PATH")
    if parts.scheme == "http" and not plain_http and not is_loopback(parts.hostname):
        raise InputError(
            f"{plain_address(url)} is not encrypted", "use https, or --plain-http if you trust the network"
        )


def is_loopback(host: str) -> bool:
    """Whether a host is this one, by its name alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def origin_of(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port: who gets a login."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def is_akin(host: str, other: str) -> bool:
    """Whether two hosts are one, or of one domain as registries and their token servers are: registry.gitlab.com and
    gitlab.com, registry-1.docker.io and auth.docker.io.
    """
    if host == other:
        return True
    names = (host.lower().rstrip(".").split("."), other.lower().rstrip(".").split("."))
    if any(len(name) < 2 or name[-1].isdecimal() or ":" in name[-1] for name in names):
        return False
    return names[0][-2:] == names[1][-2:]


def led_to(url: str, location: str) -> str:
    """The address that a server at `url` leads to by `location`.

    TransferError where that is none, or away from TLS.
    """
    try:
        target = urljoin(url, location)
        origin_of(target)
    except ValueError:
        raise TransferError(f"{plain_address(url)} leads to no address", _ASK) from None
    if url.startswith("https:") and not target.startswith("https:"):
        raise TransferError(f"{plain_address(url)} leads to {plain_address(target)}, without TLS", _ASK)
    return target


def plain_address(url: str) -> str:
    """An address for messages: no login, no parameters (an upload's address may hold a token)."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that is none"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
