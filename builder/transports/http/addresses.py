"""Addresses of servers: which are allowed, and how they are shown."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from builder.errors import InputError


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


def plain_address(url: str) -> str:
    """An address for messages: no login, no parameters (an upload's address may hold a token)."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
